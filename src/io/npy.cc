#include "io/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "convnext/error.h"
#include "io/bytes.h"
#include "io/file.h"

namespace convnext {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeaderBytes = 1 << 16;  // NumPy itself reads 10,000 without being asked
constexpr std::size_t kMaxAxes = 64;              // NumPy's own limit
constexpr std::size_t kDataAlignment = 64;

struct TypeCode {
  std::string_view code;  // without the byte order
  DType dtype;
};
constexpr std::array<TypeCode, 12> kTypeCodes = {{{"b1", DType::kBool},
                                                  {"u1", DType::kU8},
                                                  {"i1", DType::kI8},
                                                  {"u2", DType::kU16},
                                                  {"i2", DType::kI16},
                                                  {"u4", DType::kU32},
                                                  {"i4", DType::kI32},
                                                  {"u8", DType::kU64},
                                                  {"i8", DType::kI64},
                                                  {"f2", DType::kF16},
                                                  {"f4", DType::kF32},
                                                  {"f8", DType::kF64}}};

struct Header {
  std::string_view descr;  // "<f4"
  bool fortran_order = false;
  Shape shape;
};

// Reads the header's Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::filesystem::path& path) : text_(text), path_(path) {}

  Header parse() {
    Header header;
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !has_descr) {
        has_descr = true;
        if (peek() == '[') throw_unsupported("a structured array; save its fields one by one");
        header.descr = quoted();
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        header.shape = tuple();
      } else {
        throw_damaged(fmt::format("unexpected key at byte {}", at_));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) throw_damaged(fmt::format("something follows the dictionary at byte {}", at_));
    if (!has_descr || !has_order || !has_shape) throw_damaged("descr, fortran_order or shape is missing");
    return header;
  }

  [[noreturn]] void throw_damaged(std::string_view what) const {
    throw Error(ErrorCode::kDamaged,
                fmt::format("'{}' is not a whole .npy file: its header is damaged: {}", path_.string(), what));
  }

  [[noreturn]] void throw_unsupported(std::string_view what) const {
    throw Error(ErrorCode::kUnsupported, fmt::format("cannot read '{}': it is {}", path_.string(), what));
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) throw_damaged(fmt::format("expected '{}' at byte {}", c, at_));
  }

  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') throw_damaged(fmt::format("expected a string at byte {}", at_));
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) throw_damaged(fmt::format("the string at byte {} has no end", at_));
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    throw_damaged(fmt::format("expected True or False at byte {}", at_));
  }

  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      std::int64_t size = 0;
      peek();
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) throw_damaged(fmt::format("expected a size at byte {}", at_));
      at_ = static_cast<std::size_t>(end - text_.data());
      if (shape.size() == kMaxAxes) throw_damaged(fmt::format("more than {} axes", kMaxAxes));
      shape.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  const std::filesystem::path& path_;
  std::size_t at_ = 0;
};

}  // namespace

Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file = MappedFile::open(path);
  const std::string_view all = text_of(file.bytes());
  const auto damaged = [&](std::string_view what) {
    return Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole .npy file: {}", path.string(), what));
  };
  constexpr std::size_t kVersionAt = kMagic.size();
  constexpr std::size_t kLengthAt = kVersionAt + 2;
  if (all.substr(0, kMagic.size()) != kMagic) {
    throw damaged(all.empty() ? "it is empty" : "it does not begin with NumPy's magic string");
  }
  if (all.size() < kLengthAt) throw damaged("it ends before its version");
  const int major = static_cast<unsigned char>(all[kVersionAt]);
  if (major < 1 || major > 3) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("cannot read '{}': .npy version {}, and 1 to 3 are known", path.string(), major));
  }
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (all.size() < kLengthAt + length_bytes) throw damaged("it ends before its header");
  const std::size_t header_bytes = little_endian(file.bytes(), kLengthAt, length_bytes);
  const std::string_view behind_length = all.substr(kLengthAt + length_bytes);
  if (header_bytes > behind_length.size() || header_bytes > kMaxHeaderBytes) {
    throw damaged(fmt::format("it promises a header of {} bytes, and {} follow", header_bytes, behind_length.size()));
  }

  HeaderParser parser(behind_length.substr(0, header_bytes), path);
  const Header header = parser.parse();
  if (header.fortran_order) {
    parser.throw_unsupported("in Fortran order; save numpy.ascontiguousarray(array)");
  }
  if (header.descr.empty()) parser.throw_damaged("descr is empty");
  const char byte_order = header.descr.front();
  const auto type = std::find_if(kTypeCodes.begin(), kTypeCodes.end(),
                                 [&](const TypeCode& known) { return known.code == header.descr.substr(1); });
  if (type == kTypeCodes.end() || (byte_order != '<' && byte_order != '>' && byte_order != '|')) {
    parser.throw_unsupported(fmt::format("of type '{}'; save array.astype(numpy.float32)", header.descr.substr(0, 40)));
  }
  if (byte_order == '>' && size_of(type->dtype) > 1) {
    parser.throw_unsupported(fmt::format("big-endian; save array.astype('<{}')", type->code));
  }

  // What the shape asks for is compared with what is there before anything is allocated.
  const std::string_view data = behind_length.substr(header_bytes);
  std::int64_t needed = 0;
  try {
    if (__builtin_mul_overflow(element_count(header.shape), static_cast<std::int64_t>(size_of(type->dtype)), &needed)) {
      needed = -1;
    }
  } catch (const Error&) {
    needed = -1;
  }
  if (needed < 0 || static_cast<std::uint64_t>(needed) != data.size()) {
    throw damaged(fmt::format("shape {} of '{}' takes {} bytes, and {} follow the header", to_string(header.shape),
                              header.descr, needed < 0 ? "too many" : fmt::format("{}", needed), data.size()));
  }
  if (type->dtype == DType::kBool && std::any_of(data.begin(), data.end(), [](char c) { return c != 0 && c != 1; })) {
    throw damaged("a boolean is neither 0 nor 1");
  }
  Tensor tensor = Tensor::zeros(header.shape, type->dtype);
  if (!data.empty()) std::memcpy(tensor.bytes().data(), data.data(), data.size());
  return tensor;
}

void write_npy(const std::filesystem::path& path, const ConstTensorView& tensor) {
  const auto type = std::find_if(kTypeCodes.begin(), kTypeCodes.end(),
                                 [&](const TypeCode& known) { return known.dtype == tensor.dtype; });
  if (type == kTypeCodes.end()) {
    throw Error(ErrorCode::kUnsupported, fmt::format("cannot write '{}': NumPy has no {}; convert to float32 first",
                                                     path.string(), name_of(tensor.dtype)));
  }
  if (!tensor.is_contiguous() || tensor.shape.size() > kMaxAxes) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot write '{}': the tensor {} {}", path.string(), to_string(tensor.shape),
                            tensor.is_contiguous() ? "has more than 64 axes" : "is not contiguous"));
  }
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': {}, }}",
                                   size_of(type->dtype) == 1 ? '|' : '<', type->code, to_string(tensor.shape));
  // Magic, version, two bytes of length, the header and its closing newline fill whole lines of 64 bytes.
  const std::size_t before = kMagic.size() + 4;
  header.append(kDataAlignment - 1 - (before + header.size()) % kDataAlignment, ' ');
  header += '\n';
  std::string start(kMagic);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  start += header;

  write_file_atomically(path, [&](const ByteSink& sink) {
    sink(std::as_bytes(std::span(start)));
    sink({tensor.data, static_cast<std::size_t>(tensor.count()) * size_of(tensor.dtype)});
  });
}

}  // namespace convnext
