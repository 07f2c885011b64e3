// What the pickled half of a PyTorch file says: which tensors its state dict has, and where their numbers lie
// (torch/_utils.py and torch/serialization.py, as of 0.1 to 2.15).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/tensor.h"
#include "io/pickle.h"
#include "io/tensor_file.h"

namespace convnext {

// Every name that a state dict or a training checkpoint may use; all others are refused.
GlobalRole role_in_pytorch(std::string_view name);

// Numbers that are stored outside of the pickle.
struct PytorchStorage {
  std::string_view key;
  std::optional<DType> dtype;  // nothing for those that have none here: complex, quantised
  std::uint64_t element_bytes = 0;
  std::uint64_t elements = 0;
  // In files of before 1.6 a storage may be a part of another one: elements from `first` on.
  std::uint64_t first = 0;
  std::uint64_t part_elements = 0;
};

// What a kPersistent names. `source` names the pickle in messages. Throws Error (kDamaged, kUnsupported).
PytorchStorage pytorch_storage(const PickleValue& persistent, std::string_view source);

struct PytorchTensor {
  std::string_view name;
  PytorchStorage storage;
  DType dtype = DType::kF32;
  std::uint64_t offset = 0;  // in elements of `dtype`, from the storage's `first` on
  Shape shape;
  Shape strides;  // in elements
};

struct PytorchState {
  std::vector<PytorchTensor> tensors;
  std::map<std::string, std::string, std::less<>> unread;  // as TensorFile's
  NamedClasses classes;
  std::vector<std::string> notes;  // what was taken, and what was passed over
};

// Finds the state dict: the pickled dict itself, or the one that a training checkpoint has under "model", "state_dict"
// or "module", or its average under "model_ema" or "state_dict_ema". OpenMMLab's checkpoints have the average under
// "state_dict" and the others under "ema_state_dict", and name their classes under "meta". Every extent is checked
// against the storage's own. The views point into the pickle. Throws Error: kDamaged with the tensor; kUnsupported
// where no state dict is found, or more tensors than the options allow.
PytorchState find_pytorch_state(const Pickle& pickle, const TensorFileOptions& options, std::string_view source);

}  // namespace convnext
