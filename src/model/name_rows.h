// Tables that say what tensors are called by others, read in both directions (model/layout_names.cc,
// model/detector_names.cc).
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "model/layout_names.h"

namespace convnext {

// One tensor, or those of a layer. In a pattern `*` at the end is "weight" or "bias", {bn} there is one of the four of
// a batch norm; {s} is a stage from 0 and {b} a block from 0, {s+1} and {b+1} count from 1, {2s} and {2s+1} are twice
// the stage, and one more. They may stand anywhere in a name: "s{s+1}.b{b+1}.conv1.bn.{bn}".
struct NameRow {
  std::string_view own;
  std::string_view theirs = own;  // the same where there is only one
  TensorForm form = TensorForm::kSame;
};

enum class NameDirection { kToOwn, kFromOwn };

// What `name` is called on the other side, by the first row that fits; nothing when none does. Stages count to
// `max_stages`: one name further is none of the table's.
std::optional<TensorName> translated(std::span<const NameRow> rows, std::string_view name, NameDirection direction,
                                     int max_stages);

}  // namespace convnext
