// Weights in the layouts in which they are published: told apart, brought into ours, and written again.
//
// Our own layout is timm's key names, so that timm reads our files and we read timm's without any change.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/card.h"
#include "model/layout_names.h"
#include "model/weights.h"

namespace convnext {

using TensorViews = std::map<std::string, ConstTensorView, std::less<>>;

// A tensor of a file whose name is known.
struct RecognizedTensor {
  std::string key;                          // in the file
  ConstTensorView view;                     // as it lies in the file
  std::optional<ConstTensorView> scales{};  // of integers that stand for floats
  Shape shape;                              // as it would be in our layout, as far as the view's own shape tells
  TensorName name;                          // ours
};

// The tensors of a file, sorted by what is known of them.
struct RecognizedWeights {
  WeightLayout layout = WeightLayout::kTimm;
  std::map<std::string, RecognizedTensor, std::less<>> tensors;  // by our names
  TensorViews unexpected;                                        // names that the layout does not have
  TensorViews passed_over;                      // known to be no part of the network, and integers of any other name
  std::map<std::string, std::string> repeated;  // a key that means a tensor which another key, the value, means too
  // False when no block of a network is among them, in any layout.
  bool has_blocks() const;
};

// The layout is the one that has names for most of the tensors. `scales`: of those that are integers, by name.
RecognizedWeights recognize(const TensorViews& file, const TensorViews& scales = {});

// The network that names and shapes tell of.
//
// Of a ConvNeXt: depths, widths, kernels, stem, head, classes, input channels. What they cannot tell (epsilons,
// activation, which norm without bias) is that of the registered network with the same tensors, else the ordinary. A
// few tensors that are missing or have another shape do not mislead it. Of another family: the registered network that
// fits best, with the file's class count, input channels, grid of position embeddings and windows. Of several that
// fit alike one with published weights, torchvision's own where the names are torchvision's, the one whose name says
// the grid and the largest window, the first.
//
// Notes for people go to `notes`. Throws Error (kMismatch) when there can be no such network, or no block of one is
// among the weights.
NetworkConfig infer_network(const RecognizedWeights& weights, std::string_view source, std::vector<std::string>& notes);

// `registered` with what files of one network may differ in, as `found` has it: class count, input channels, the grid
// of position embeddings, the windows of a Swin. `registered` itself where the families are not the same.
NetworkConfig fitted(NetworkConfig registered, const NetworkConfig& found);
// The same, but only what its name leaves open: the class count, input channels, and the windows of a Swin of which the
// largest, which is the name's, is the same.
NetworkConfig as_named(NetworkConfig registered, const NetworkConfig& found);

// Whether networks are alike in all that tensors tell, but for what fitted() copies and, of a ConvNeXt, whether linears
// are kept as convolutions.
bool have_same_tensors(const NetworkConfig& a, const NetworkConfig& b);

// What keeps the tensors of a file from being the weights of a network.
struct Misfit {
  enum class Kind { kMissing, kShape, kType, kUnexpected, kRepeated };
  Kind kind = Kind::kMissing;
  std::string key;  // in the file; for a missing tensor, what the layout would call it
  std::string own;  // our name; empty for unexpected ones
  Shape expected;
  Shape found;
  // "'stem.0.weight' is (24, 3, 4, 4), expected (32, 3, 4, 4)"
  std::string message() const;
};

// All of them, in the order of tensor_specs().
std::vector<Misfit> find_misfits(const RecognizedWeights& weights, const NetworkConfig& network);

// The misfits that need no shapes: tensors that are not among the `wanted` names, whose name nobody knows, or that mean
// what another one of the file means already.
std::vector<Misfit> find_strangers(const RecognizedWeights& weights, const std::set<std::string_view>& wanted);

// For people: what was passed over, buffers aside; nothing where nothing was.
std::optional<std::string> note_on_passed_over(const RecognizedWeights& weights);
// The same, and what is unusual about these weights.
std::vector<std::string> notes_on(const RecognizedWeights& weights);

// The weights by the names and in the shapes of tensor_specs(network). They must have no misfits. Views are of the
// file's memory, which `owners` keep alive. What a layout never stores (the bias of a CLIP's projection, the final norm
// of a pre-trained encoder or of a backbone) is made: biases 0, norms 1.
WeightStore import_weights(const RecognizedWeights& weights, const NetworkConfig& network,
                           const std::vector<std::shared_ptr<const void>>& owners);

// Whether it is one of transformers' backbones of four stages (ConvNextBackbone, ConvNextV2Backbone, that of an
// UPerNet), which normalise the outputs that are asked for, each by a norm with the fixed eps, and have no other final
// norm.
bool is_transformers_backbone(const RecognizedWeights& weights);

// What `convnext convert` writes.
enum class WrittenLayout { kOwn, kTimm, kFb, kTorchvision, kHf };
// "own", "timm", "fb", "torchvision", "hf".
std::string_view name_of(WrittenLayout layout);
// Throws Error (kInvalidArgument) with the names there are.
WrittenLayout written_layout_from_name(std::string_view name);

// What the code of the authors, torchvision and transformers gives all norms (but transformers' last), whatever a file
// says.
inline constexpr double kFixedNormEps = 1e-6;

// Whether transformers' class for it is DINOv3's, which has no classifier.
bool is_dinov3(const Card& card);

// Throws Error (kUnsupported) with what the layout's library has no network for, or would compute otherwise without a
// word.
void require_expressible(const Card& card, WrittenLayout layout);

// The weights, which are floats, by the names and in the shapes that the layout has for them; views of the same memory.
// Throws as require_expressible().
TensorViews export_weights(const WeightStore& weights, const Card& card, WrittenLayout layout);

}  // namespace convnext
