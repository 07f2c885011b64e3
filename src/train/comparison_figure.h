// A comparison as a picture: accuracy against compute, as in the paper's Figure 1, and against throughput.
#pragma once

#include <string>
#include <vector>

#include "plot/bubbles.h"
#include "train/comparison.h"

namespace convnext {

// Top-1 against multiply-accumulates, and below it against pictures a second: as measured, on what `machine` says
// ("here, cpu, fp32, batch 1"), or the paper's where no row was measured: on its A100 where every network was timed on
// that, else on its V100. Networks trained on ImageNet-1K alone are on the left, those trained on ImageNet-22K first on
// the right, each only where there are some. Areas are parameters; what this engine ran has rings in the family's
// colour. Networks without a published accuracy are left out.
BubbleChart comparison_figure(const std::vector<ComparisonRow>& rows, const std::string& machine);

}  // namespace convnext
