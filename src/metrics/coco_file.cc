#include "metrics/coco_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "io/file.h"
#include "io/quoted.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

// A file's characters one after the other, of which a piece is in memory.
class CharacterSource {
 public:
  explicit CharacterSource(const fs::path& path) : file_(path) { read_on(); }

  bool at_end() const { return next_ == end_; }
  char current() const { return *next_; }
  void advance() {
    if (++next_ == end_) read_on();
  }

 private:
  static constexpr std::uint64_t kPieceBytes = 1 << 20;

  void read_on() {
    piece_.resize(static_cast<std::size_t>(std::min(kPieceBytes, file_.size() - offset_)));
    file_.read(offset_, std::as_writable_bytes(std::span(piece_)));
    offset_ += piece_.size();
    next_ = piece_.data();
    end_ = next_ + piece_.size();
  }

  FileReader file_;
  std::uint64_t offset_ = 0;
  std::vector<char> piece_;
  const char* next_ = nullptr;
  const char* end_ = nullptr;
};

// What the parser takes for an iterator. All copies stand at one place.
class CharacterIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit CharacterIterator(CharacterSource* source) : source_(source) {}
  char operator*() const { return source_->current(); }
  CharacterIterator& operator++() {
    source_->advance();
    return *this;
  }
  CharacterIterator operator++(int) { return ++*this; }
  // Compared with the end, which has no source, and with nothing else.
  bool operator==(const CharacterIterator& other) const {
    return other.source_ == nullptr ? source_ == nullptr || source_->at_end() : source_ == other.source_;
  }

 private:
  CharacterSource* source_;
};

enum class Section { kNone, kImages, kAnnotations, kCategories, kResults };
constexpr std::array<Named<Section>, 3> kSections = {
    {{Section::kImages, "images"}, {Section::kAnnotations, "annotations"}, {Section::kCategories, "categories"}}};

enum class Field {
  kOther,
  kId,
  kImageId,
  kCategoryId,
  kFileName,
  kWidth,
  kHeight,
  kName,
  kSupercategory,
  kBox,
  kArea,
  kCrowd,
  kScore,
  kSegmentation
};
constexpr std::array<Named<Field>, 13> kFields = {{{Field::kId, "id"},
                                                   {Field::kImageId, "image_id"},
                                                   {Field::kCategoryId, "category_id"},
                                                   {Field::kFileName, "file_name"},
                                                   {Field::kWidth, "width"},
                                                   {Field::kHeight, "height"},
                                                   {Field::kName, "name"},
                                                   {Field::kSupercategory, "supercategory"},
                                                   {Field::kBox, "bbox"},
                                                   {Field::kArea, "area"},
                                                   {Field::kCrowd, "iscrowd"},
                                                   {Field::kScore, "score"},
                                                   {Field::kSegmentation, "segmentation"}}};

bool belongs_to(Field field, Section section) {
  using enum Field;
  switch (field) {
    case kOther:
      return false;
    case kFileName:
    case kWidth:
    case kHeight:
      return section == Section::kImages;
    case kName:
    case kSupercategory:
      return section == Section::kCategories;
    case kId:
      return section != Section::kResults;
    case kArea:
    case kCrowd:
      return section == Section::kAnnotations;
    case kScore:
      return section == Section::kResults;
    case kImageId:
    case kCategoryId:
    case kBox:
    case kSegmentation:
      return section == Section::kAnnotations || section == Section::kResults;
  }
  return false;
}

// An entry of any of the lists, as it was read.
struct Entry {
  std::int64_t index = 0;  // in its list
  std::optional<std::int64_t> id, image_id, category_id;
  std::optional<std::int64_t> width, height;
  std::optional<std::string> file_name, name, supercategory;
  std::optional<BoundingBox> box;
  std::optional<double> area, score;
  bool crowd = false;
  CocoSegmentation segmentation;
};

bool is_missing(const CocoSegmentation& segmentation) {
  const auto* polygons = std::get_if<CocoPolygons>(&segmentation);
  return polygons != nullptr ? polygons->empty() : std::holds_alternative<std::monostate>(segmentation);
}

// Thrown through the parser, which would only give false back.
[[noreturn]] void throw_damaged(const fs::path& path, std::string_view problem) {
  throw Error(ErrorCode::kDamaged, fmt::format("{}: {}", in_quotes(path.string()), problem));
}

// A number of JSON, whichever of its types it has.
struct Number {
  double value = 0.0;
  std::optional<std::int64_t> integer;
};

// Follows the parser through a file. A tree of it would be ten times as large as the text.
class EntryReader {
 public:
  using TakeEntry = std::function<void(EntryReader& reader, Section section, Entry& entry)>;

  // `section`: kResults for a file that is one list, else kNone.
  EntryReader(const fs::path& path, Section section, bool segmentations, TakeEntry take)
      : path_(path),
        section_(section),
        list_depth_(section == Section::kResults ? 1 : 2),
        segmentations_(segmentations),
        take_(std::move(take)) {}

  // From the next entry on.
  void read_segmentations(bool read) { segmentations_ = read; }
  bool has(Section section) const { return seen_[static_cast<std::size_t>(section)]; }

  bool null() {
    if (skipped_ > 0) return true;
    // Some writers have it for what is not known.
    if (level() == 0 && (field_ == Field::kOther || field_ == Field::kSegmentation || field_ == Field::kBox ||
                         field_ == Field::kSupercategory)) {
      return true;
    }
    return unexpected("null");
  }
  bool boolean(bool value) {
    if (skipped_ > 0) return true;
    if (level() == 0 && field_ == Field::kCrowd) {
      entry_.crowd = value;
      return true;
    }
    return unexpected(value ? "true" : "false");
  }
  bool number_integer(std::int64_t value) { return number({static_cast<double>(value), value}); }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return number({static_cast<double>(value), fits ? std::optional(static_cast<std::int64_t>(value)) : std::nullopt});
  }
  bool number_float(double value, const std::string& /*text*/) {
    // 17.0 is an id for who wrote it from a table of floats.
    const bool whole = value == std::floor(value) && std::abs(value) <= 0x1p53;
    return number({value, whole ? std::optional(static_cast<std::int64_t>(value)) : std::nullopt});
  }
  bool string(std::string& value) {
    if (skipped_ > 0) return true;
    if (level() == 0) {
      switch (field_) {
        case Field::kFileName:
          entry_.file_name = std::move(value);
          return true;
        case Field::kName:
          entry_.name = std::move(value);
          return true;
        case Field::kSupercategory:
          entry_.supercategory = std::move(value);
          return true;
        default:
          break;
      }
    }
    if (in_mask() && key_ == "counts") {
      text_counts_ = std::move(value);
      return true;
    }
    return unexpected(fmt::format("the text {}", in_quotes(value)));
  }
  bool binary(std::vector<std::uint8_t>& /*value*/) { return true; }  // JSON has none

  bool start_object(std::size_t /*elements*/) {
    if (skipped_ > 0) return skip();
    if (depth_ == 0 && list_depth_ == 2) return enter();
    if (depth_ == 0) {
      stop(
          "it is one object, but results are a list: [{\"image_id\": ..., \"category_id\": ..., ...}, ...] (the file "
          "of the ground truth is named first)");
    }
    if (depth_ < list_depth_) return section_ == Section::kNone ? skip() : unexpected("an object");
    if (depth_ == list_depth_) {
      entry_ = {};
      entry_.index = next_index_++;
      field_ = Field::kOther;
      return enter();
    }
    if (level() == 0 && field_ == Field::kOther) return skip();
    if (level() == 0 && field_ == Field::kSegmentation) {
      text_counts_.reset();
      counts_.reset();
      size_.clear();
      is_mask_ = true;
      key_.clear();
      return enter();
    }
    if (in_mask() && key_ != "counts" && key_ != "size") return skip();
    return unexpected("an object");
  }
  bool start_array(std::size_t /*elements*/) {
    if (skipped_ > 0) return skip();
    if (depth_ == 0 && list_depth_ == 1) return enter();
    if (depth_ == 0) stop("it is a list, but a ground truth is one object with images, annotations and categories");
    if (depth_ < list_depth_) {
      if (section_ == Section::kNone) return skip();
      next_index_ = 0;
      return enter();
    }
    if (depth_ == list_depth_) return unexpected("a list");
    if (level() == 0 && field_ == Field::kOther) return skip();
    if (level() == 0 && field_ == Field::kBox) {
      numbers_.clear();
      return enter();
    }
    if (level() == 0 && field_ == Field::kSegmentation) {
      entry_.segmentation = CocoPolygons();
      is_mask_ = false;
      return enter();
    }
    if (level() == 1 && field_ == Field::kSegmentation && !is_mask_) {
      std::get<CocoPolygons>(entry_.segmentation).emplace_back();
      return enter();
    }
    if (in_mask() && key_ == "counts") {
      counts_.emplace();
      return enter();
    }
    if (in_mask() && key_ == "size") return enter();
    if (in_mask()) return skip();
    return unexpected("a list");
  }
  bool key(std::string& key) {
    if (skipped_ > 0) return true;
    if (depth_ == 1 && list_depth_ == 2) {
      section_ = Section::kNone;
      for (const auto& [section, name] : kSections) {
        if (key == name) section_ = section;
      }
      if (section_ != Section::kNone && std::exchange(seen_[static_cast<std::size_t>(section_)], true)) {
        stop(fmt::format("'{}' stands twice", key));
      }
    } else if (level() == 0) {
      field_ = Field::kOther;
      for (const auto& [field, name] : kFields) {
        if (key == name && belongs_to(field, section_)) field_ = field;
      }
      if (field_ == Field::kSegmentation && !segmentations_) field_ = Field::kOther;
    } else {
      key_ = std::move(key);
    }
    return true;
  }
  bool end_object() {
    if (skipped_ > 0) return unskip();
    if (level() == 0) {
      field_ = Field::kOther;
      if (is_missing(entry_.segmentation)) entry_.segmentation = std::monostate();
      take_(*this, section_, entry_);
    } else if (in_mask()) {
      finish_mask();
    }
    --depth_;
    return true;
  }
  bool end_array() {
    if (skipped_ > 0) return unskip();
    if (level() == 1 && field_ == Field::kBox) {
      // An empty list stands for no box, as in pycocotools.
      if (!numbers_.empty() && numbers_.size() != 4) {
        refuse(fmt::format("has {} numbers, but a box has 4: x, y, width, height", numbers_.size()));
      }
      entry_.box.reset();
      if (!numbers_.empty()) entry_.box = {numbers_[0], numbers_[1], numbers_[2], numbers_[3]};
    }
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token, const std::exception& error) {
    std::string_view what = error.what();
    constexpr std::string_view kValue = " - ";
    if (const auto at = what.find(kValue); at != std::string_view::npos) what.remove_prefix(at + kValue.size());
    const bool no_number = token.ends_with('N') || token.ends_with('I');
    stop(fmt::format("no JSON at byte {}{}: {}", position, place().empty() ? "" : ", in " + place(),
                     no_number ? "NaN and Infinity are no numbers" : in_quotes(what)));
  }

  // Throws Error (kDamaged) that names the entry, and the field that is being read.
  [[noreturn]] void refuse(std::string_view problem) const { stop(fmt::format("{} {}", place(), problem)); }

 private:
  // How deep it is within an entry; below 0 outside of one.
  int level() const { return depth_ - list_depth_ - 1; }
  bool in_mask() const { return level() == 1 && field_ == Field::kSegmentation && is_mask_; }
  bool enter() {
    ++depth_;
    return true;
  }
  bool skip() {
    ++skipped_;
    return true;
  }
  bool unskip() {
    --skipped_;
    return true;
  }
  [[noreturn]] void stop(std::string_view problem) const { throw_damaged(path_, problem); }

  static std::string_view name_of(Section section) {
    return section == Section::kNone || section == Section::kResults ? "results" : find_name(kSections, section);
  }

  // "annotations[5] (id 17): 'bbox'".
  std::string place() const {
    if (depth_ < list_depth_ || section_ == Section::kNone) return {};
    if (depth_ == list_depth_) return fmt::format("{}[{}]", name_of(section_), next_index_);
    std::string place = fmt::format("{}[{}]", name_of(section_), entry_.index);
    if (entry_.id) place += fmt::format(" (id {})", *entry_.id);
    if (field_ != Field::kOther) place += fmt::format(": '{}'", find_name(kFields, field_));
    return place;
  }

  // A value where another belongs; true when it is of a field that nobody reads.
  bool unexpected(std::string_view what) const {
    if (depth_ == 0) stop(fmt::format("it is {} alone, but an object or a list was expected", what));
    if (depth_ < list_depth_) {
      if (section_ == Section::kNone) return true;
      stop(fmt::format("'{}' is {}, but must be a list", name_of(section_), what));
    }
    if (depth_ == list_depth_) refuse(fmt::format("is {}, but must be an object", what));
    if (level() == 0 && field_ == Field::kOther) return true;
    if (in_mask() && key_ != "counts" && key_ != "size") return true;
    refuse(fmt::format("holds {}, but {}", what, expected()));
  }

  std::string_view expected() const {
    switch (field_) {
      case Field::kId:
      case Field::kImageId:
      case Field::kCategoryId:
      case Field::kWidth:
      case Field::kHeight:
        return "must be an integer";
      case Field::kArea:
      case Field::kScore:
        return "must be a number";
      case Field::kCrowd:
        return "must be 0 or 1";
      case Field::kBox:
        return "must be a list of 4 numbers: x, y, width, height";
      case Field::kSegmentation:
        return "must be a list of polygons, each a list of numbers, or an object with 'counts' and 'size'";
      default:
        return "must be text";
    }
  }

  bool number(const Number& number) {
    if (skipped_ > 0) return true;
    const auto shown = [&] {
      return number.integer ? fmt::format("{}", *number.integer) : fmt::format("{}", number.value);
    };
    if (level() == 0) {
      switch (field_) {
        case Field::kId:
          return integer(number, entry_.id);
        case Field::kImageId:
          return integer(number, entry_.image_id);
        case Field::kCategoryId:
          return integer(number, entry_.category_id);
        case Field::kWidth:
          return integer(number, entry_.width);
        case Field::kHeight:
          return integer(number, entry_.height);
        case Field::kArea:
          entry_.area = number.value;
          return true;
        case Field::kScore:
          entry_.score = number.value;
          return true;
        case Field::kCrowd:
          entry_.crowd = number.value != 0;
          return true;
        default:
          return unexpected(shown());
      }
    }
    if (level() == 1 && field_ == Field::kBox) {
      // Whatever follows the fifth makes the box no better.
      if (numbers_.size() < 5) numbers_.push_back(number.value);
      return true;
    }
    if (level() == 2 && field_ == Field::kSegmentation && !is_mask_) {
      std::get<CocoPolygons>(entry_.segmentation).back().push_back(number.value);
      return true;
    }
    if (level() == 2 && field_ == Field::kSegmentation && key_ == "counts") {
      if (!number.integer || *number.integer < 0 || *number.integer > kMaxMaskPixels) {
        refuse(fmt::format("has the count {}: no number of pixels", shown()));
      }
      counts_->push_back(static_cast<std::uint32_t>(*number.integer));
      return true;
    }
    if (level() == 2 && field_ == Field::kSegmentation && key_ == "size") {
      if (!number.integer || *number.integer < 1 || *number.integer > kMaxMaskPixels || size_.size() == 2) {
        refuse(fmt::format("has {} in its 'size', which is [height, width]", shown()));
      }
      size_.push_back(static_cast<int>(*number.integer));
      return true;
    }
    return unexpected(shown());
  }

  bool integer(const Number& number, std::optional<std::int64_t>& value) const {
    if (!number.integer) refuse(fmt::format("is {}, but must be an integer", number.value));
    value = number.integer;
    return true;
  }

  void finish_mask() {
    if (size_.size() != 2) refuse("has no 'size': [height, width]");
    if (!text_counts_ && !counts_) refuse("has no 'counts'");
    try {
      if (text_counts_) {
        // Decoded to see that it is whole; the text is the smaller of the two.
        mask_from_compressed_counts(*text_counts_, size_[0], size_[1]);
        text_counts_->shrink_to_fit();
        entry_.segmentation = CompressedMask{size_[0], size_[1], *std::move(text_counts_)};
      } else {
        counts_->shrink_to_fit();
        entry_.segmentation = mask_from_counts(*std::move(counts_), size_[0], size_[1]);
      }
    } catch (const Error& error) {
      refuse(fmt::format("is no mask: {}", error.what()));
    }
  }

  const fs::path& path_;
  Section section_;
  const int list_depth_;  // containers that are open around an entry
  bool segmentations_;
  const TakeEntry take_;
  std::array<bool, 5> seen_ = {};
  int depth_ = 0;             // open containers that matter
  std::int64_t skipped_ = 0;  // and those of a value that does not
  std::int64_t next_index_ = 0;
  Entry entry_;
  Field field_ = Field::kOther;
  std::string key_;  // in the object of a mask
  bool is_mask_ = false;
  std::vector<double> numbers_;
  std::optional<std::string> text_counts_;
  std::optional<std::vector<std::uint32_t>> counts_;
  std::vector<int> size_;
};

void parse(const fs::path& path, EntryReader& reader) {
  CharacterSource source(path);
  nlohmann::json::sax_parse(CharacterIterator(&source), CharacterIterator(nullptr), &reader);
}

// Counts what happens again and again, with its first example.
class Tally {
 public:
  // `text` is only asked the first time.
  template <typename Text>
  void add(const Text& text) {
    if (warning_.count++ == 0) warning_.text = text();
  }
  void append_to(std::vector<CocoWarning>& warnings) const {
    if (warning_.count > 0) warnings.push_back(warning_);
  }

 private:
  CocoWarning warning_;
};

// Boxes that pycocotools evaluates like any other, and that can match nothing.
struct BoxTallies {
  Tally without_area;
  Tally outside;

  template <typename Name>
  void look_at(const BoundingBox& box, const CocoPicture& picture, const Name& name) {
    if (box.width <= 0 || box.height <= 0) {
      without_area.add([&] {
        return fmt::format("{} has a box of {} x {} pixels (width x height): kept as it is", name(), box.width,
                           box.height);
      });
    } else if (picture.width > 0 && picture.height > 0 &&
               (box.x >= picture.width || box.y >= picture.height || box.x + box.width <= 0 ||
                box.y + box.height <= 0)) {
      outside.add([&] {
        return fmt::format("{} has a box outside of its picture ({} x {} pixels), at ({}, {}): kept as it is", name(),
                           picture.width, picture.height, box.x, box.y);
      });
    }
  }
  void append_to(std::vector<CocoWarning>& warnings) const {
    without_area.append_to(warnings);
    outside.append_to(warnings);
  }
};

template <typename Items>
int find_id(const Items& items, std::int64_t id) {
  const auto found = std::ranges::lower_bound(items, id, {}, &Items::value_type::id);
  return found == items.end() || found->id != id ? -1 : static_cast<int>(found - items.begin());
}

template <typename Items>
void sort_by_id(Items& items, const fs::path& path, std::string_view what) {
  std::ranges::stable_sort(items, {}, &Items::value_type::id);
  const auto twice = std::ranges::adjacent_find(items, {}, &Items::value_type::id);
  if (twice != items.end()) throw_damaged(path, fmt::format("two {} have the id {}", what, twice->id));
}

void require(const EntryReader& reader, bool present, std::string_view field) {
  if (!present) reader.refuse(fmt::format("has no '{}'", field));
}

int side(const EntryReader& reader, const std::optional<std::int64_t>& value, std::string_view name) {
  if (!value) return 0;
  if (*value < 1 || *value > std::numeric_limits<int>::max()) {
    reader.refuse(fmt::format("has the {} {}: a picture's is positive", name, *value));
  }
  return static_cast<int>(*value);
}

// What can be told without drawing it. Sizes that are 0 are not known.
void check_outline(const CocoSegmentation& segmentation, int height, int width) {
  if (const auto* polygons = std::get_if<CocoPolygons>(&segmentation)) {
    for (const std::vector<double>& polygon : *polygons) check_polygon(polygon);
    return;
  }
  const auto check_size = [&](int mask_height, int mask_width) {
    if (height > 0 && width > 0 && (mask_height != height || mask_width != width)) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("a mask of {} x {} pixels for a picture of {} x {} (width x height)", mask_width,
                              mask_height, width, height));
    }
  };
  if (const auto* text = std::get_if<CompressedMask>(&segmentation)) check_size(text->height, text->width);
  if (const auto* mask = std::get_if<MaskRle>(&segmentation)) check_size(mask->height, mask->width);
}

// What an annotation or a result said of its place, before all pictures and categories were known.
struct Reference {
  std::int64_t picture = 0;
  std::int64_t category = 0;
  bool has_box = false;
};

// A file of results as far as it can be read without its ground truth.
struct ParsedResults {
  fs::path path;
  std::vector<CocoDetection> detections;  // whose picture and category only the references say
  std::vector<Reference> references;
  bool areas_of_boxes = true;
};

ParsedResults parse_results(const fs::path& path, bool masks) {
  ParsedResults parsed;
  parsed.path = path;
  const auto take = [&](EntryReader& reader, Section, Entry& entry) {
    require(reader, entry.image_id.has_value(), "image_id");
    require(reader, entry.category_id.has_value(), "category_id");
    require(reader, entry.score.has_value(), "score");
    if (entry.index == 0) {
      parsed.areas_of_boxes = entry.box.has_value();
      if (!parsed.areas_of_boxes && is_missing(entry.segmentation)) {
        reader.refuse("has neither a 'bbox' nor a 'segmentation'");
      }
      reader.read_segmentations(masks || !parsed.areas_of_boxes);
    }
    if (parsed.areas_of_boxes && !entry.box) reader.refuse("has no 'bbox', but the first entry has");
    if (!parsed.areas_of_boxes && is_missing(entry.segmentation)) {
      reader.refuse("has neither a 'segmentation', nor has the first entry a 'bbox'");
    }
    parsed.references.push_back({*entry.image_id, *entry.category_id, entry.box.has_value()});
    parsed.detections.push_back({.picture = 0,
                                 .category = 0,
                                 .box = entry.box.value_or(BoundingBox{}),
                                 .area = 0.0,
                                 .score = *entry.score,
                                 .segmentation = std::move(entry.segmentation)});
  };
  EntryReader reader(path, Section::kResults, /*segmentations=*/true, take);
  parse(path, reader);
  return parsed;
}

// The same with what its entries are of.
CocoResults resolved(ParsedResults parsed, const CocoDataset& truth, bool masks) {
  CocoResults results;
  results.path = std::move(parsed.path);
  Tally no_category;
  BoxTallies boxes;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < parsed.detections.size(); ++i) {
    CocoDetection& detection = parsed.detections[i];
    const Reference& reference = parsed.references[i];
    const auto name = [i] { return fmt::format("results[{}]", i); };
    detection.picture = truth.find_picture(reference.picture);
    detection.category = truth.find_category(reference.category);
    if (detection.picture < 0) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("{}: {} is of picture {}, which {} does not have", in_quotes(results.path.string()),
                              name(), reference.picture, in_quotes(truth.path.string())));
    }
    const CocoPicture& picture = truth.pictures[static_cast<std::size_t>(detection.picture)];
    try {
      check_outline(detection.segmentation, picture.height, picture.width);
      if (parsed.areas_of_boxes) {
        detection.area = detection.box.width * detection.box.height;
      } else {
        const MaskRle mask = mask_of(detection.segmentation, picture.height, picture.width);
        detection.area = mask_area(mask);
        if (!reference.has_box) detection.box = mask_bounds(mask);
      }
    } catch (const Error& error) {
      throw Error(error.code(),
                  fmt::format("{}: {}: 'segmentation': {}", in_quotes(results.path.string()), name(), error.what()));
    }
    if (detection.category < 0) {
      no_category.add([&] {
        return fmt::format("{} is of category {}, which the ground truth does not have: left out", name(),
                           reference.category);
      });
      continue;
    }
    if (reference.has_box) boxes.look_at(detection.box, picture, name);
    if (!masks) detection.segmentation = {};
    if (kept != i) parsed.detections[kept] = std::move(detection);
    ++kept;
  }
  parsed.detections.resize(kept);
  results.detections = std::move(parsed.detections);
  no_category.append_to(results.warnings);
  boxes.append_to(results.warnings);
  return results;
}

}  // namespace

MaskRle mask_of(const CocoSegmentation& segmentation, int height, int width) {
  if (is_missing(segmentation)) throw Error(ErrorCode::kInvalidArgument, "it has no outline");
  check_outline(segmentation, height, width);
  if (const auto* polygons = std::get_if<CocoPolygons>(&segmentation)) {
    return mask_from_polygons(*polygons, height, width);
  }
  if (const auto* text = std::get_if<CompressedMask>(&segmentation)) {
    return mask_from_compressed_counts(text->counts, text->height, text->width);
  }
  return std::get<MaskRle>(segmentation);
}

std::vector<std::string> names_of(const std::vector<CocoCategory>& categories) {
  std::vector<std::string> names;
  for (const CocoCategory& category : categories) names.push_back(category.name);
  return names;
}

std::string describe(const CocoWarning& warning, const fs::path& file) {
  const std::string more = warning.count == 1 ? "" : fmt::format(" (and {} more such)", warning.count - 1);
  return fmt::format("{}: {}{}", in_quotes(file.string()), warning.text, more);
}

int CocoDataset::find_picture(std::int64_t id) const { return find_id(pictures, id); }
int CocoDataset::find_category(std::int64_t id) const { return find_id(categories, id); }

CocoDataset read_coco_dataset(const fs::path& path, const CocoFields& required) {
  CocoDataset dataset;
  dataset.path = path;
  std::vector<Reference> references;  // of each annotation
  const auto take = [&](const EntryReader& reader, Section section, Entry& entry) {
    require(reader, entry.id.has_value(), "id");
    if (section == Section::kImages) {
      require(reader, entry.file_name.has_value() || !required.file_names, "file_name");
      require(reader, entry.width.has_value() || !required.sizes, "width");
      require(reader, entry.height.has_value() || !required.sizes, "height");
      dataset.pictures.push_back({.id = *entry.id,
                                  .file_name = std::move(entry.file_name).value_or(""),
                                  .height = side(reader, entry.height, "height"),
                                  .width = side(reader, entry.width, "width"),
                                  .first_annotation = 0,
                                  .annotations = 0});
    } else if (section == Section::kCategories) {
      dataset.categories.push_back({.id = *entry.id,
                                    .name = std::move(entry.name).value_or(fmt::format("{}", *entry.id)),
                                    .supercategory = std::move(entry.supercategory).value_or("")});
    } else {
      require(reader, entry.image_id.has_value(), "image_id");
      require(reader, entry.category_id.has_value(), "category_id");
      require(reader, entry.box.has_value() || !required.boxes, "bbox");
      require(reader, entry.area.has_value() || !required.areas, "area");
      require(reader, !is_missing(entry.segmentation) || !required.segmentations, "segmentation");
      references.push_back({*entry.image_id, *entry.category_id, entry.box.has_value()});
      dataset.annotations.push_back({.id = *entry.id,
                                     .picture = 0,
                                     .category = 0,
                                     .box = entry.box.value_or(BoundingBox{}),
                                     .area = entry.area.value_or(0.0),
                                     .crowd = entry.crowd,
                                     .segmentation = std::move(entry.segmentation)});
    }
  };
  EntryReader reader(path, Section::kNone, required.segmentations, take);
  parse(path, reader);
  for (const Section section : {Section::kImages, Section::kCategories}) {
    if (!reader.has(section)) {
      throw_damaged(path,
                    fmt::format("it has no '{}', so it is no ground truth of COCO", find_name(kSections, section)));
    }
  }
  sort_by_id(dataset.pictures, path, "pictures");
  sort_by_id(dataset.categories, path, "categories");
  if (!reader.has(Section::kAnnotations)) {
    dataset.warnings.push_back({.count = 1, .text = "it has no 'annotations': no picture has an object"});
  }
  std::vector<std::int64_t> ids;
  ids.reserve(dataset.annotations.size());
  for (const CocoAnnotation& annotation : dataset.annotations) ids.push_back(annotation.id);
  std::ranges::sort(ids);
  if (const auto twice = std::ranges::adjacent_find(ids); twice != ids.end()) {
    throw_damaged(path, fmt::format("two annotations have the id {}", *twice));
  }
  ids = {};

  Tally no_picture, no_category;
  BoxTallies boxes;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < dataset.annotations.size(); ++i) {
    CocoAnnotation& annotation = dataset.annotations[i];
    const Reference& reference = references[i];
    const auto name = [&] { return fmt::format("annotation {}", annotation.id); };
    annotation.picture = dataset.find_picture(reference.picture);
    annotation.category = dataset.find_category(reference.category);
    if (annotation.picture < 0) {
      no_picture.add([&] {
        return fmt::format("{} is of picture {}, which the file does not have: left out", name(), reference.picture);
      });
      continue;
    }
    if (annotation.category < 0) {
      no_category.add([&] {
        return fmt::format("{} is of category {}, which the file does not have: left out", name(), reference.category);
      });
      continue;
    }
    CocoPicture& picture = dataset.pictures[static_cast<std::size_t>(annotation.picture)];
    try {
      check_outline(annotation.segmentation, picture.height, picture.width);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: annotation {}: 'segmentation': {}", in_quotes(path.string()),
                                            annotation.id, error.what()));
    }
    if (reference.has_box) boxes.look_at(annotation.box, picture, name);
    ++picture.annotations;
    if (kept != i) dataset.annotations[kept] = std::move(annotation);
    ++kept;
  }
  dataset.annotations.resize(kept);
  no_picture.append_to(dataset.warnings);
  no_category.append_to(dataset.warnings);
  boxes.append_to(dataset.warnings);
  std::ranges::stable_sort(dataset.annotations, {}, &CocoAnnotation::picture);
  std::size_t first = 0;
  for (CocoPicture& picture : dataset.pictures) {
    picture.first_annotation = first;
    first += picture.annotations;
  }
  return dataset;
}

CocoResults read_coco_results(const fs::path& path, const CocoDataset& truth, bool masks) {
  return resolved(parse_results(path, masks), truth, masks);
}

CocoFiles read_coco_files(const fs::path& truth, const CocoFields& required, const fs::path& results, bool masks,
                          ThreadPool& pool) {
  CocoFiles files;
  ParsedResults parsed;
  std::exception_ptr problem;
  pool.run(2, [&](int task, int) {
    if (task == 0) {
      files.truth = read_coco_dataset(truth, required);
      return;
    }
    try {
      parsed = parse_results(results, masks);
    } catch (...) {
      problem = std::current_exception();
    }
  });
  if (problem) std::rethrow_exception(problem);
  files.results = resolved(std::move(parsed), files.truth, masks);
  return files;
}

}  // namespace convnext
