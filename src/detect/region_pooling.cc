#include "detect/region_pooling.h"

#include <ATen/Parallel.h>

#include <array>
#include <span>

#include "detect/pyramid_level.h"
#include "model/detector.h"

namespace convnext {
namespace {

constexpr std::size_t kPooledLevels = 4;

// (n, 5): picture, x1, y1, x2, y2. Numbers of pictures are exact in float32 up to 2^24.
torch::Tensor to_rows(const std::vector<RegionOfInterest>& regions) {
  torch::Tensor rows = torch::empty({static_cast<std::int64_t>(regions.size()), 5});
  float* to = rows.data_ptr<float>();
  for (const RegionOfInterest& region : regions) {
    for (const float value :
         {static_cast<float>(region.picture), region.box.x1, region.box.y1, region.box.x2, region.box.y2}) {
      *to++ = value;
    }
  }
  return rows;
}

std::vector<RegionOfInterest> from_rows(const torch::Tensor& rows) {
  std::vector<RegionOfInterest> regions;
  const float* from = rows.const_data_ptr<float>();
  for (std::int64_t i = 0; i < rows.size(0); ++i, from += 5) {
    regions.push_back({static_cast<int>(from[0]), {from[1], from[2], from[3], from[4]}});
  }
  return regions;
}

MapBatch size_of(at::IntArrayRef sizes) {
  return {.pictures = static_cast<int>(sizes[0]),
          .height = static_cast<int>(sizes[1]),
          .width = static_cast<int>(sizes[2]),
          .channels = static_cast<int>(sizes[3])};
}

// Of a contiguous (pictures, height, width, channels) map in float32 on the CPU.
struct RoiAlignFunction : torch::autograd::Function<RoiAlignFunction> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& map,
                               const torch::Tensor& rows, std::int64_t bins, double scale) {
    context->save_for_backward({rows});
    context->saved_data["sizes"] = map.sizes().vec();
    context->saved_data["bins"] = bins;
    context->saved_data["scale"] = scale;
    const MapBatch size = size_of(map.sizes());
    const std::vector<RegionOfInterest> regions = from_rows(rows);
    const RoiAlignOptions options{.bins = static_cast<int>(bins), .scale = static_cast<float>(scale)};
    torch::Tensor out = torch::empty({rows.size(0), bins, bins, map.size(3)});
    const std::int64_t of_region = bins * bins * map.size(3);
    const float* from = map.const_data_ptr<float>();
    float* to = out.data_ptr<float>();
    at::parallel_for(0, rows.size(0), 1, [&](std::int64_t first, std::int64_t last) {
      roi_align(from, size,
                std::span(regions).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)),
                options, to + first * of_region);
    });
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const std::vector<std::int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const std::vector<RegionOfInterest> regions = from_rows(context->get_saved_variables().front());
    const RoiAlignOptions options{.bins = static_cast<int>(context->saved_data["bins"].toInt()),
                                  .scale = static_cast<float>(context->saved_data["scale"].toDouble())};
    const torch::Tensor gradient = gradients.front().to(torch::kFloat32).contiguous();
    torch::Tensor of_map = torch::zeros(sizes);
    const float* from = gradient.const_data_ptr<float>();
    float* to = of_map.data_ptr<float>();
    constexpr std::int64_t kChannelsOfThread = 16;  // a cache line of them
    at::parallel_for(0, sizes[3], kChannelsOfThread, [&](std::int64_t first, std::int64_t last) {
      roi_align_gradient(from, size_of(sizes), regions, options, static_cast<int>(first), static_cast<int>(last), to);
    });
    return {of_map, {}, {}, {}};
  }
};

}  // namespace

torch::Tensor pool_regions(const std::vector<torch::Tensor>& maps, const std::vector<RegionOfInterest>& regions,
                           int bins) {
  std::array<std::vector<RegionOfInterest>, kPooledLevels> of_level;
  std::array<std::vector<std::int64_t>, kPooledLevels> places;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto level = static_cast<std::size_t>(pyramid_level(regions[i].box));
    of_level[level].push_back(regions[i]);
    places[level].push_back(static_cast<std::int64_t>(i));
  }
  std::vector<torch::Tensor> pooled;
  std::vector<std::int64_t> order;
  for (std::size_t level = 0; level < kPooledLevels; ++level) {
    if (of_level[level].empty()) continue;
    const torch::Tensor map = maps[level].to(torch::kCPU, torch::kFloat32).permute({0, 2, 3, 1}).contiguous();
    pooled.push_back(
        RoiAlignFunction::apply(map, to_rows(of_level[level]), std::int64_t{bins}, 1.0 / kPyramidStrides[level]));
    order.insert(order.end(), places[level].begin(), places[level].end());
  }
  if (pooled.empty()) return torch::zeros({0, maps[0].size(1), bins, bins}, maps[0].options().dtype(torch::kFloat32));
  // Where each region's bins went.
  const torch::Tensor back = torch::tensor(order, torch::kInt64).argsort();
  return torch::cat(pooled).index_select(0, back).permute({0, 3, 1, 2}).to(maps[0].device());
}

}  // namespace convnext
