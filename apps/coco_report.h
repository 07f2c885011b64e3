// How COCO's figures are shown, whoever worked them out.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "metrics/coco_evaluation.h"

namespace convnext::apps {

// "0.412", and "-" for a figure of nothing.
std::string format_stat(double stat);

// A row for each category with its counts and figures.
std::string category_table(const CocoDataset& truth, const CocoEvaluation& evaluation);
nlohmann::ordered_json category_rows(const CocoDataset& truth, const CocoEvaluation& evaluation);

}  // namespace convnext::apps
