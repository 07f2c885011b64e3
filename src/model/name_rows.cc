#include "model/name_rows.h"

#include <algorithm>
#include <iterator>

namespace convnext {
namespace {

constexpr int kMaxBlock = 255;

struct Places {
  int stage = -1;
  int block = -1;
  std::string_view parameter;
};

// What stands for `factor` * the stage or block + `offset`.
struct Placeholder {
  std::string_view text;
  int Places::*place;
  int factor;
  int offset;
};
constexpr Placeholder kPlaceholders[] = {
    {"{s}", &Places::stage, 1, 0},    {"{s+1}", &Places::stage, 1, 1}, {"{2s}", &Places::stage, 2, 0},
    {"{2s+1}", &Places::stage, 2, 1}, {"{b}", &Places::block, 1, 0},   {"{b+1}", &Places::block, 1, 1},
};

constexpr std::string_view kLayerParameters[] = {"weight", "bias"};
constexpr std::string_view kBatchNormParameters[] = {"weight", "bias", "running_mean", "running_var"};

// The parameters that `*` or {bn} stands for; none where the pattern does not begin with one of them.
std::span<const std::string_view> parameters_at(std::string_view pattern) {
  if (pattern == "*") return kLayerParameters;
  if (pattern == "{bn}") return kBatchNormParameters;
  return {};
}

// Null where the pattern does not begin with one.
const Placeholder* placeholder_at(std::string_view pattern) {
  if (!pattern.starts_with('{')) return nullptr;
  const auto found = std::ranges::find_if(
      kPlaceholders, [pattern](const Placeholder& placeholder) { return pattern.starts_with(placeholder.text); });
  return found == std::end(kPlaceholders) ? nullptr : &*found;
}

// Takes a number without sign or leading zero off the front; -1 where there is none.
int take_number(std::string_view& text) {
  constexpr std::size_t kMaxDigits = 3;
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > kMaxDigits || (digits > 1 && text[0] == '0')) return -1;
  int value = 0;
  for (const char digit : text.substr(0, digits)) value = 10 * value + (digit - '0');
  text.remove_prefix(digits);
  return value;
}

// False when the number there is none that the placeholder makes, or one that contradicts another in the same name.
bool take_place(const Placeholder& placeholder, std::string_view& name, Places& places) {
  const int number = take_number(name) - placeholder.offset;
  if (number < 0 || number % placeholder.factor != 0) return false;
  int& place = places.*placeholder.place;
  if (place >= 0 && place != number / placeholder.factor) return false;
  place = number / placeholder.factor;
  return true;
}

std::optional<Places> match(std::string_view pattern, std::string_view name) {
  Places places;
  while (!pattern.empty()) {
    if (const auto parameters = parameters_at(pattern); !parameters.empty()) {
      if (std::ranges::find(parameters, name) == parameters.end()) return std::nullopt;
      places.parameter = name;
      return places;
    }
    if (const Placeholder* placeholder = placeholder_at(pattern)) {
      if (!take_place(*placeholder, name, places)) return std::nullopt;
      pattern.remove_prefix(placeholder->text.size());
    } else {
      if (!name.starts_with(pattern.front())) return std::nullopt;
      pattern.remove_prefix(1);
      name.remove_prefix(1);
    }
  }
  if (!name.empty()) return std::nullopt;
  return places;
}

std::string filled(std::string_view pattern, const Places& places) {
  std::string name;
  while (!pattern.empty()) {
    if (!parameters_at(pattern).empty()) return name.append(places.parameter);
    if (const Placeholder* placeholder = placeholder_at(pattern)) {
      name += std::to_string(placeholder->factor * places.*placeholder->place + placeholder->offset);
      pattern.remove_prefix(placeholder->text.size());
    } else {
      name += pattern.front();
      pattern.remove_prefix(1);
    }
  }
  return name;
}

}  // namespace

std::optional<TensorName> translated(std::span<const NameRow> rows, std::string_view name, NameDirection direction,
                                     int max_stages) {
  const bool to_own = direction == NameDirection::kToOwn;
  for (const NameRow& row : rows) {
    const std::optional<Places> places = match(to_own ? row.theirs : row.own, name);
    if (!places || places->stage >= max_stages || places->block > kMaxBlock) continue;
    TensorName result{filled(to_own ? row.own : row.theirs, *places), row.form, places->stage, places->block};
    // Biases and norms are vectors everywhere: only weights of linears and response norms change their shape.
    if (result.form == TensorForm::kLinear && places->parameter == "bias") result.form = TensorForm::kSame;
    return result;
  }
  return std::nullopt;
}

}  // namespace convnext
