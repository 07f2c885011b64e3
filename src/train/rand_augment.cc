#include "train/rand_augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "convnext/error.h"

namespace convnext {
namespace {

// Reads the parts of a policy one after another; each says itself what is wrong with it.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  RandAugment parse() {
    std::size_t start = 0;
    while (start <= text_.size()) {
      const std::size_t end = std::min(text_.find('-', start), text_.size());
      part_ = text_.substr(start, end - start);
      if (start > 0) {
        read_part();
      } else if (part_ != "rand") {
        refuse("is not a policy that is known: expected rand");
      }
      start = end + 1;
    }
    return policy_;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("RandAugment '{}': '{}' {}", text_, part_, why));
  }

  void read_part() {
    key_ = part_.substr(0, std::min(part_.find_first_of("0123456789"), part_.size()));
    if (!seen_.insert(std::string(key_)).second) refuse("is given twice");
    if (key_ == "m") {
      policy_.magnitude = whole_number(0, 100);
    } else if (key_ == "n") {
      policy_.operations = whole_number(1, 100);
    } else if (key_ == "p") {
      policy_.probability = number(0.0, 1.0, "number from 0 to 1");
    } else if (key_ == "mstd") {
      const double deviation = number(0.0, std::numeric_limits<double>::max(), "number from 0 on");
      policy_.magnitude_deviation = deviation > 100 ? std::numeric_limits<double>::infinity() : deviation;
    } else if (key_ == "mmax") {
      policy_.max_magnitude = whole_number(1, 100);
    } else if (key_ == "inc") {
      policy_.increasing = whole_number(0, 1) == 1;
    } else {
      refuse("is unknown: expected m, n, p, mstd, mmax or inc, and a number");
    }
  }

  template <typename Number>
  Number number(Number low, Number high, std::string_view kind) const {
    const std::string_view digits = part_.substr(key_.size());
    Number value{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || !(value >= low && value <= high)) {
      refuse(fmt::format("needs a {} after '{}'", kind, key_));
    }
    return value;
  }

  int whole_number(int low, int high) const {
    return number(low, high, fmt::format("whole number from {} to {}", low, high));
  }

  std::string_view text_;
  std::string_view part_;
  std::string_view key_;  // what the part begins with
  std::set<std::string> seen_;
  RandAugment policy_;
};

bool is_affine(OperationKind kind) { return kind == OperationKind::kRotate || kind >= OperationKind::kShearX; }

AffineFilter filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBilinear:
      return AffineFilter::kBilinear;
    case Interpolation::kBicubic:
      return AffineFilter::kBicubic;
    default:
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("RandAugment cannot rotate with interpolation '{}': expected "
                              "bilinear or bicubic",
                              name_of(interpolation)));
  }
}

double draw_magnitude(const RandAugment& policy, KeyedRandom& random) {
  double magnitude = policy.magnitude;
  if (std::isinf(policy.magnitude_deviation)) {
    magnitude = random.uniform(0.0, magnitude);
  } else if (policy.magnitude_deviation > 0) {
    magnitude += policy.magnitude_deviation * random.normal();
  }
  return std::clamp(magnitude, 0.0, static_cast<double>(policy.max_magnitude));
}

}  // namespace

std::optional<RandAugment> parse_rand_augment(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return Parser(text).parse();
}

void validate(const RandAugment& policy, std::optional<Interpolation> interpolation) {
  const auto require = [](bool holds, std::string_view what, double value, std::string_view expected) {
    if (holds) return;
    throw Error(ErrorCode::kInvalidArgument, fmt::format("RandAugment: {} is {}, expected {}", what, value, expected));
  };
  require(policy.operations >= 1 && policy.operations <= 100, "the number of operations", policy.operations,
          "1 to 100");
  require(policy.probability >= 0 && policy.probability <= 1, "the probability", policy.probability, "0 to 1");
  require(policy.magnitude >= 0 && policy.magnitude <= 100, "the magnitude", policy.magnitude, "0 to 100");
  require(policy.magnitude_deviation >= 0, "the deviation of the magnitude", policy.magnitude_deviation, "0 or more");
  require(policy.max_magnitude >= 1 && policy.max_magnitude <= 100, "the largest magnitude", policy.max_magnitude,
          "1 to 100");
  if (interpolation) filter_of(*interpolation);
}

bool has_direction(OperationKind kind, bool increasing) {
  switch (kind) {
    case OperationKind::kRotate:
    case OperationKind::kShearX:
    case OperationKind::kShearY:
    case OperationKind::kTranslateX:
    case OperationKind::kTranslateY:
      return true;
    case OperationKind::kColor:
    case OperationKind::kContrast:
    case OperationKind::kBrightness:
    case OperationKind::kSharpness:
      return increasing;
    default:
      return false;
  }
}

double argument_at(OperationKind kind, double magnitude, bool increasing, bool backwards) {
  const double level = magnitude / 10.0;
  const double direction = backwards ? -1.0 : 1.0;
  switch (kind) {
    case OperationKind::kAutoContrast:
    case OperationKind::kEqualize:
    case OperationKind::kInvert:
      return 0.0;
    case OperationKind::kRotate:
      return direction * (level * 30.0);
    case OperationKind::kPosterize: {
      const double bits = std::trunc(level * 4.0);
      return increasing ? 4.0 - bits : bits;
    }
    case OperationKind::kSolarize: {
      const double threshold = std::min(256.0, std::trunc(level * 256.0));
      return increasing ? 256.0 - threshold : threshold;
    }
    case OperationKind::kSolarizeAdd:
      return std::min(128.0, std::trunc(level * 110.0));
    case OperationKind::kColor:
    case OperationKind::kContrast:
    case OperationKind::kBrightness:
    case OperationKind::kSharpness:
      return increasing ? std::max(0.1, 1.0 + direction * (level * 0.9)) : level * 1.8 + 0.1;
    case OperationKind::kShearX:
    case OperationKind::kShearY:
      return direction * (level * 0.3);
    case OperationKind::kTranslateX:
    case OperationKind::kTranslateY:
      return direction * (level * 0.45);
  }
  throw std::logic_error("argument_at: not an OperationKind");
}

std::vector<PictureOperation> draw_operations(const RandAugment& policy, std::optional<Interpolation> interpolation,
                                              KeyedRandom& random) {
  std::vector<OperationKind> kinds;
  for (int i = 0; i < policy.operations; ++i) {
    kinds.push_back(static_cast<OperationKind>(random.below(static_cast<std::uint32_t>(kOperationKinds))));
  }
  std::vector<PictureOperation> operations;
  for (const OperationKind kind : kinds) {
    if (policy.probability < 1.0 && !random.chance(policy.probability)) continue;
    const double magnitude = draw_magnitude(policy, random);
    const bool backwards = has_direction(kind, policy.increasing) && !random.chance(0.5);
    PictureOperation operation{.kind = kind, .argument = argument_at(kind, magnitude, policy.increasing, backwards)};
    if (is_affine(kind)) {
      operation.filter = interpolation          ? filter_of(*interpolation)
                         : random.below(2) == 0 ? AffineFilter::kBilinear
                                                : AffineFilter::kBicubic;
    }
    operations.push_back(operation);
  }
  return operations;
}

Image apply(const Image& image, const PictureOperation& operation, Rgb fill) {
  const double argument = operation.argument;
  const auto moved = [&](const AffineMatrix& matrix) { return affine(image, matrix, operation.filter, fill); };
  switch (operation.kind) {
    case OperationKind::kAutoContrast:
      return auto_contrast(image);
    case OperationKind::kEqualize:
      return equalize(image);
    case OperationKind::kInvert:
      return invert(image);
    case OperationKind::kRotate:
      return moved(rotation(image, argument));
    case OperationKind::kPosterize:
      return posterize(image, static_cast<int>(argument));
    case OperationKind::kSolarize:
      return solarize(image, static_cast<int>(argument));
    case OperationKind::kSolarizeAdd:
      return solarize_add(image, static_cast<int>(argument));
    case OperationKind::kColor:
      return enhance_color(image, argument);
    case OperationKind::kContrast:
      return enhance_contrast(image, argument);
    case OperationKind::kBrightness:
      return enhance_brightness(image, argument);
    case OperationKind::kSharpness:
      return enhance_sharpness(image, argument);
    case OperationKind::kShearX:
      return moved(shear_x(argument));
    case OperationKind::kShearY:
      return moved(shear_y(argument));
    case OperationKind::kTranslateX:
      return moved(translate_x(argument * image.width));
    case OperationKind::kTranslateY:
      return moved(translate_y(argument * image.height));
  }
  throw std::logic_error("apply: not an OperationKind");
}

Rgb fill_of(const std::array<float, 3>& mean) {
  Rgb fill{};
  for (std::size_t c = 0; c < fill.size(); ++c) {
    // Halves go to the even number, as Python rounds: a mean of 0.5 gives 128.
    fill[c] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(255.0 * static_cast<double>(mean[c])), 0.0, 255.0));
  }
  return fill;
}

}  // namespace convnext
