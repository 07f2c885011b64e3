// How each family collects its layers: what those of the part being described have in common stands in `part_`.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/layers.h"

namespace convnext {

class LayerList {
 protected:
  LayerSpec& add(std::string name, LayerKind kind, int in, int out) {
    LayerSpec& layer = layers_.emplace_back(part_);
    layer.name = std::move(name);
    layer.kind = kind;
    layer.in_channels = in;
    layer.out_channels = out;
    return layer;
  }

  LayerSpec& convolution(std::string name, int in, int out, int kernel, int stride, int padding, int groups = 1) {
    LayerSpec& layer = add(std::move(name), LayerKind::kConvolution, in, out);
    layer.kernel = kernel;
    layer.stride = stride;
    layer.padding = padding;
    layer.groups = groups;
    return layer;
  }

  // Of an odd kernel that is centred on its pixel, before a norm, which brings the bias.
  LayerSpec& convolution_before_norm(std::string name, int in, int out, int kernel, int stride, int groups = 1) {
    LayerSpec& layer = convolution(std::move(name), in, out, kernel, stride, kernel / 2, groups);
    layer.bias = false;
    return layer;
  }

  void activation(std::string name, int channels) { add(std::move(name), LayerKind::kActivation, channels, channels); }

  // Squeeze and excitation (Hu et al. 2018): the map times a gate a channel. `reduce` and `expand` are what the names
  // of its two layers end with.
  void squeeze_and_excitation(const std::string& name, std::string_view reduce, std::string_view expand, int channels,
                              int squeezed) {
    const auto named = [&name](std::string_view layer) { return name + "." + std::string(layer); };
    part_.branch = LayerBranch::kSqueeze;
    add(named("pool"), LayerKind::kPool, channels, channels);
    add(named(reduce), LayerKind::kConvolution, channels, squeezed);
    activation(named("act"), squeezed);
    add(named(expand), LayerKind::kConvolution, squeezed, channels);
    activation(named("gate"), channels);
    part_.branch = LayerBranch::kMain;
    add(name, LayerKind::kScale, channels, channels);
  }

  std::vector<LayerSpec> layers_;
  LayerSpec part_;
};

}  // namespace convnext
