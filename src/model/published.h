// The weights that have been published, all of ConvNeXt and the best known of the networks that it is compared with:
// what a file is, how it was evaluated, where it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "convnext/image.h"

namespace convnext {

// ImageNet-1K top-1, percent; 0 where there is no figure.
struct PublishedTop1 {
  double published = 0.0;     // by those who trained it
  double timm = 0.0;          // measured again by timm, with the preprocessing of this row
  int larger_resolution = 0;  // timm's at another resolution, crop fraction 1 (0.95 for the smallest networks)
  double at_larger = 0.0;
};

struct PublishedWeights {
  std::string name;             // timm's "convnext_tiny.fb_in1k"; in that manner where timm does not have it
  std::string architecture;     // registered
  int classes = 0;              // 640, 768 and 1024: the projection of a CLIP image tower; 0: no classifier
  Preprocessing preprocessing;  // of the evaluation that `top1` is of
  std::string license;          // SPDX, where the licence has a name there
  PublishedTop1 top1;
  bool in_timm = false;    // as timm/NAME on Hugging Face
  std::string file;        // by its makers: "convnext_tiny_1k_224_ema.pth"; empty where there is only a repository
  std::string folder;      // its address without the file, where that does not follow from the tag
  std::string repository;  // on Hugging Face beside timm's own: "facebook/convnext-tiny-224"; may be empty

  std::string_view tag() const { return std::string_view(name).substr(name.find('.') + 1); }
};

// By family, small to large: src/model/published.txt, then published_compared.txt.
const std::vector<PublishedWeights>& published_weights();

// Null when there is none of that architecture and tag.
const PublishedWeights* find_published(std::string_view architecture, std::string_view tag);

// The row that a file's or a folder's name stands for: timm's name, now or before 2023 ("convnext_tiny_in22ft1k"), the
// file's or the repository's, whatever the case and the extension; a dot, a dash and an underscore are the same. Null
// when it is none of them.
const PublishedWeights* published_named(std::string_view name);

// What it was trained on, in order: "ImageNet-22K, ImageNet-1K".
std::string training_data(const PublishedWeights& weights);

// Where its makers offer `file`: "https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth". Empty where
// there is no such file.
std::string file_url(const PublishedWeights& weights);

}  // namespace convnext
