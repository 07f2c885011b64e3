#include "io/pytorch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/bytes.h"
#include "io/file_limits.h"
#include "io/pickle.h"
#include "io/pytorch_state.h"
#include "io/quoted.h"
#include "io/zip_archive.h"

namespace convnext {
namespace {

constexpr std::string_view kZipSignature = "PK\x03\x04";
constexpr std::string_view kPickleMember = "/data.pkl";
constexpr unsigned char kPickleProtocol = 0x80;  // the first byte of every pickle since protocol 2
// 0x1950a86a20f9469cfc6c, in little-endian.
constexpr std::string_view kLegacyMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::int64_t kLegacyProtocol = 1001;

// Many tensors may share a storage. Those that are laid out anew take memory: together they may be so many times as
// large as the file. Whoever reads them all takes time: all together so many times as large as the file and what it
// unpacks to. A little more where the file is small.
constexpr std::uint64_t kLaidOutRatio = 4;
constexpr std::uint64_t kViewedRatio = 64;
constexpr std::uint64_t kAlways = std::uint64_t{1} << 20;

// Axes of one element may have any stride, as PyTorch sees it.
bool is_laid_out(const Shape& shape, const Shape& strides) {
  const Shape dense = contiguous_strides(shape);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] > 1 && strides[axis] != dense[axis]) return false;
  }
  return true;
}

template <std::size_t size>
void copy_elements(const std::byte* from, std::size_t step, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * size, from + i * step * size, size);
}

// The elements of a strided tensor in row-major order.
void lay_out(const std::byte* from, const Shape& shape, const Shape& strides, std::size_t element_bytes,
             std::byte* to) {
  // The innermost axis by a loop of its own, the others by counting.
  const std::size_t inner = shape.size() - 1;
  const auto count = static_cast<std::size_t>(shape[inner]);
  const auto step = static_cast<std::size_t>(strides[inner]);
  Shape steps = strides;  // an axis of one element may have any stride, and is never gone along
  for (std::size_t axis = 0; axis < inner; ++axis) steps[axis] = shape[axis] > 1 ? strides[axis] : 0;
  Shape index(inner, 0);
  std::int64_t at = 0;
  while (true) {
    const std::byte* const row = from + static_cast<std::size_t>(at) * element_bytes;
    switch (element_bytes) {
      case 1:
        copy_elements<1>(row, step, count, to);
        break;
      case 2:
        copy_elements<2>(row, step, count, to);
        break;
      case 4:
        copy_elements<4>(row, step, count, to);
        break;
      default:
        copy_elements<8>(row, step, count, to);
        break;
    }
    to += count * element_bytes;
    std::size_t axis = inner;
    while (axis-- > 0) {
      at += steps[axis];
      if (++index[axis] < shape[axis]) break;
      at -= steps[axis] * shape[axis];
      index[axis] = 0;
    }
    if (axis == std::numeric_limits<std::size_t>::max()) return;
  }
}

void check_size(const PytorchStorage& storage, std::uint64_t bytes, const auto& damaged) {
  if (bytes / storage.element_bytes >= storage.elements) return;
  damaged(fmt::format("its storage {} has {} bytes, and {} elements of {} bytes are promised", in_quotes(storage.key),
                      bytes, storage.elements, storage.element_bytes));
}

// Puts the tensors of a state into a TensorFile. `find` gives the bytes of a storage.
template <typename Find>
void add_tensors(const PytorchState& state, std::uint64_t file_bytes, std::uint64_t unpacked_bytes,
                 std::string_view source, const Find& find, TensorFile& file) {
  std::uint64_t laid_out_budget = kAlways + kLaidOutRatio * file_bytes;
  std::uint64_t viewed_budget = kAlways + kViewedRatio * (file_bytes + unpacked_bytes);
  for (const PytorchTensor& tensor : state.tensors) {
    const auto damaged = [&](std::string_view what) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: tensor {}: {}", source, in_quotes(tensor.name), what));
    };
    const PytorchStorage& storage = tensor.storage;
    const std::size_t element_bytes = size_of(tensor.dtype);
    const std::uint64_t bytes = static_cast<std::uint64_t>(element_count(tensor.shape)) * element_bytes;
    const std::byte* data = nullptr;
    const bool laid_out = bytes == 0 || is_laid_out(tensor.shape, tensor.strides);
    if (bytes > 0) {
      const std::span<const std::byte> stored = find(storage, damaged);
      check_size(storage, stored.size(), damaged);
      data = stored.data() + storage.first * storage.element_bytes + tensor.offset * element_bytes;
    }
    if (laid_out && bytes > viewed_budget) {
      damaged(
          fmt::format("with it the tensors share the storages' numbers beyond {} times the file's size", kViewedRatio));
    }
    viewed_budget -= std::min(bytes, viewed_budget);
    if (!laid_out) {
      if (bytes > laid_out_budget) {
        damaged(fmt::format("its strides {} repeat the storage's numbers beyond {} times the file's size",
                            to_string(tensor.strides), kLaidOutRatio));
      }
      laid_out_budget -= bytes;
      const auto copy = std::make_shared<std::vector<std::byte>>(bytes);
      lay_out(data, tensor.shape, tensor.strides, element_bytes, copy->data());
      data = copy->data();
      file.owners.push_back(copy);
    }
    file.tensors[std::string(tensor.name)] = {data, tensor.dtype, Layout::kRowMajor, tensor.shape,
                                              contiguous_strides(tensor.shape)};
  }
}

// The folder inside of the archive that everything lies in: its members are called FOLDER/data.pkl and so on.
std::string find_folder(const ZipArchive& archive, const std::filesystem::path& path) {
  const auto refuse = [&](std::string_view what) {
    throw Error(ErrorCode::kUnsupported, fmt::format("'{}' is {}", path.string(), what));
  };
  std::string folder;
  for (const ZipMember& member : archive.members()) {
    const std::string_view name = member.name;
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos || name.substr(slash) != kPickleMember) continue;
    if (!folder.empty()) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}' has more than one data.pkl", path.string()));
    }
    folder = name.substr(0, slash);
    if (folder.empty()) break;
  }
  if (folder.empty()) refuse("a zip archive without data.pkl, so not a PyTorch file of weights");
  if (archive.find(folder + "/constants.pkl") ||
      std::any_of(archive.members().begin(), archive.members().end(),
                  [&](const ZipMember& member) { return member.name.starts_with(folder + "/code/"); })) {
    refuse(
        "a TorchScript archive, a program with its weights: load it in Python by torch.jit.load and save its "
        "state_dict()");
  }
  if (const ZipMember* order = archive.find(folder + "/byteorder")) {
    constexpr std::uint64_t kMost = 16;
    const std::string name(order->size > kMost ? "of too many letters" : text_of(archive.read(*order).bytes));
    if (name != "little") {
      refuse(fmt::format("of the byte order {}; only 'little' is read: save it on another machine", in_quotes(name)));
    }
  }
  return folder;
}

}  // namespace

bool is_pytorch_zip(std::span<const std::byte> first_bytes) { return text_of(first_bytes).starts_with(kZipSignature); }

bool is_pytorch_legacy(std::span<const std::byte> first_bytes) {
  return !first_bytes.empty() && std::to_integer<unsigned char>(first_bytes.front()) == kPickleProtocol;
}

TensorFile open_pytorch_zip(const MappedFile& file, const TensorFileOptions& options) {
  TensorFile result;
  result.path = file.path();
  result.kind = TensorFileKind::kPytorchZip;
  result.owners.push_back(file.owner());
  const ZipArchive archive(file, options.limits);
  const std::string folder = find_folder(archive, file.path());

  const ZipMember& member = *archive.find(folder + std::string(kPickleMember));
  const std::string source = fmt::format("'{}', {}", file.path().string(), in_quotes(member.name));
  if (std::cmp_greater(member.size, options.limits.max_header_bytes)) {
    throw_beyond_limit(source, fmt::format("it is {} bytes", format_count(static_cast<std::int64_t>(member.size))),
                       options.limits, &FileLimits::max_header_bytes);
  }
  const ZipBytes program = archive.read(member);
  archive.check(member, program.bytes);
  const Pickle pickle = read_pickle(program.bytes, 0, source, role_in_pytorch, options.limits);
  PytorchState state = find_pytorch_state(pickle, options, source);

  std::unordered_map<std::string_view, std::span<const std::byte>> storages;
  const auto find = [&](const PytorchStorage& storage, const auto& damaged) {
    const auto known = storages.find(storage.key);
    if (known != storages.end()) return known->second;
    const ZipMember* const stored = archive.find(fmt::format("{}/data/{}", folder, storage.key));
    if (!stored) damaged(fmt::format("the archive has no storage {}", in_quotes(storage.key)));
    check_size(storage, stored->size, damaged);
    const ZipBytes read = archive.read(*stored);
    if (!stored->stored) result.owners.push_back(read.owner);
    return storages[storage.key] = read.bytes;
  };
  add_tensors(state, file.bytes().size(), archive.unpacked_bytes(), source, find, result);
  result.notes = std::move(state.notes);
  result.classes = std::move(state.classes);
  result.unread = std::move(state.unread);
  return result;
}

namespace {

// A file of before 1.6: pickles one behind the other, and then each storage as its number of elements and their bytes.
class LegacyReader {
 public:
  LegacyReader(const MappedFile& file, const TensorFileOptions& options)
      : file_(file), bytes_(file.bytes()), options_(options), source_(fmt::format("'{}'", file.path().string())) {}

  TensorFile read() {
    TensorFile result;
    result.path = file_.path();
    result.kind = TensorFileKind::kPytorchLegacy;
    result.owners.push_back(file_.owner());
    check_head();
    const Pickle pickle = next();
    const Pickle keys = next();
    if (keys.root().type != PickleType::kList) damaged("it has no list of storages");
    PytorchState state = find_pytorch_state(pickle, options_, source_);
    const Storages storages = read_storages(keys.root().items, storages_of(pickle));
    const auto find = [&](const PytorchStorage& storage, const auto& tensor_damaged) {
      const auto known = storages.find(storage.key);
      if (known == storages.end()) tensor_damaged(fmt::format("the file has no storage {}", in_quotes(storage.key)));
      return known->second;
    };
    add_tensors(state, bytes_.size(), /*unpacked_bytes=*/0, source_, find, result);
    result.notes = std::move(state.notes);
    result.classes = std::move(state.classes);
    result.unread = std::move(state.unread);
    return result;
  }

 private:
  using Storages = std::unordered_map<std::string_view, std::span<const std::byte>>;  // by their keys
  using Referred = std::unordered_map<std::string_view, PytorchStorage>;

  [[noreturn]] void damaged(std::string_view what) const {
    throw Error(ErrorCode::kDamaged, fmt::format("{} is not a whole PyTorch file: {}", source_, what));
  }

  Pickle next() {
    Pickle pickle = read_pickle(bytes_, at_, source_, role_in_pytorch, options_.limits);
    at_ += pickle.size();
    return pickle;
  }

  // Magic, protocol, and what the machine was like.
  void check_head() {
    if (const Pickle magic = next();
        magic.root().type != PickleType::kLargeInteger || magic.root().text != kLegacyMagic) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("{} is a pickle, but not one of PyTorch's: only torch.save() makes files of weights", source_));
    }
    if (const Pickle protocol = next();
        protocol.root().type != PickleType::kInteger || protocol.root().integer != kLegacyProtocol) {
      damaged(fmt::format("its protocol is not {}", kLegacyProtocol));
    }
    const Pickle system = next();
    if (const PickleValue* little = system.root().find("little_endian"); !little || little->integer != 1) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} is big-endian, which is not read: save it on another machine", source_));
    }
  }

  // How large the elements of a storage are, only who refers to it knows.
  Referred storages_of(const Pickle& pickle) const {
    Referred referred;
    for (const PickleValue* persistent : pickle.persistent()) {
      const PytorchStorage storage = pytorch_storage(*persistent, source_);
      const auto [known, is_new] = referred.try_emplace(storage.key, storage);
      if (!is_new && known->second.element_bytes != storage.element_bytes) {
        damaged(fmt::format("storage {} is of two types", in_quotes(storage.key)));
      }
    }
    return referred;
  }

  Storages read_storages(const std::vector<const PickleValue*>& keys, const Referred& referred) {
    Storages storages;
    for (const PickleValue* key : keys) {
      const auto storage = referred.find(key->text);
      if (storage == referred.end()) damaged(fmt::format("storage {} belongs to no tensor", in_quotes(key->text)));
      storages[key->text] = read_storage(in_quotes(key->text), storage->second.element_bytes);
    }
    return storages;
  }

  std::span<const std::byte> read_storage(std::string_view name, std::uint64_t element_bytes) {
    constexpr std::size_t kCountBytes = 8;
    if (bytes_.size() - at_ < kCountBytes) {
      damaged(fmt::format("it ends before storage {}; was the download cut short?", name));
    }
    const std::uint64_t elements = little_endian(bytes_, at_, kCountBytes);
    at_ += kCountBytes;
    if (elements > (bytes_.size() - at_) / element_bytes) {
      damaged(
          fmt::format("storage {} at byte {} promises {} elements, and {} bytes are left; was the download cut "
                      "short?",
                      name, at_, elements, bytes_.size() - at_));
    }
    const std::span<const std::byte> storage = bytes_.subspan(at_, elements * element_bytes);
    at_ += storage.size();
    return storage;
  }

  const MappedFile& file_;
  const std::span<const std::byte> bytes_;
  const TensorFileOptions& options_;
  const std::string source_;
  std::size_t at_ = 0;
};

}  // namespace

TensorFile open_pytorch_legacy(const MappedFile& file, const TensorFileOptions& options) {
  return LegacyReader(file, options).read();
}

namespace {

std::string_view storage_class(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "FloatStorage";
    case DType::kF64:
      return "DoubleStorage";
    case DType::kF16:
      return "HalfStorage";
    case DType::kBF16:
      return "BFloat16Storage";
    case DType::kI64:
      return "LongStorage";
    case DType::kI32:
      return "IntStorage";
    case DType::kI16:
      return "ShortStorage";
    case DType::kI8:
      return "CharStorage";
    case DType::kU8:
      return "ByteStorage";
    case DType::kBool:
      return "BoolStorage";
    default:
      return {};
  }
}

// A pickle of protocol 2, opcode by opcode.
class PickleWriter {
 public:
  void opcode(char code) { text_ += code; }
  void global(std::string_view module, std::string_view name) { text_ += fmt::format("c{}\n{}\n", module, name); }
  void text(std::string_view value) {
    text_ += 'X';
    append_little_endian(text_, value.size(), 4);
    text_ += value;
  }
  void integer(std::uint64_t value) {
    if (value <= 0xff) {
      text_ += 'K';
      append_little_endian(text_, value, 1);
    } else if (value <= 0xffff) {
      text_ += 'M';
      append_little_endian(text_, value, 2);
    } else if (value <= 0x7fffffff) {
      text_ += 'J';
      append_little_endian(text_, value, 4);
    } else {  // LONG1, of 8 bytes
      text_ += "\x8a\x08";
      append_little_endian(text_, value, 8);
    }
  }
  void tuple(const Shape& values) {
    text_ += '(';
    for (const std::int64_t value : values) integer(static_cast<std::uint64_t>(value));
    text_ += 't';
  }
  // Keeps the value on top of the stack; get() gives it again.
  void put(std::uint8_t index) { (text_ += 'q') += static_cast<char>(index); }
  void get(std::uint8_t index) { (text_ += 'h') += static_cast<char>(index); }

  std::string finish() && { return std::move(text_ += '.'); }

 private:
  std::string text_ = "\x80\x02";
};

using NamedTensor = std::pair<std::string, ConstTensorView>;

void check_writable(std::span<const NamedTensor> tensors, const std::filesystem::path& path) {
  std::set<std::string_view> names;
  for (const auto& [name, view] : tensors) {
    const auto refuse = [&path, &name = name](std::string_view what) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("cannot write '{}': tensor {} {}", path.string(), in_quotes(name), what));
    };
    if (!names.insert(name).second) refuse("stands twice");
    try {
      (void)nlohmann::json(name).dump();  // the JSON writer is the one that knows UTF-8
    } catch (const nlohmann::json::exception&) {
      refuse("has a name that is not valid UTF-8");
    }
    if (!view.is_contiguous()) refuse("is not contiguous");
    if (storage_class(view.dtype).empty()) {
      refuse(fmt::format("is {}, which PyTorch has no storage of", name_of(view.dtype)));
    }
  }
}

// The pickle of an OrderedDict of tensors, whose storages are called by their numbers. What is named again and again is
// kept, and called back.
class StateDictPickle {
 public:
  static std::string of(std::span<const NamedTensor> tensors) {
    StateDictPickle state;
    state.pickle_.global("collections", "OrderedDict");
    state.pickle_.put(kOrderedDict);
    state.pickle_.opcode(')');
    state.pickle_.opcode('R');
    state.pickle_.opcode('(');
    for (std::size_t i = 0; i < tensors.size(); ++i) state.add(i, tensors[i]);
    state.pickle_.opcode('u');
    return std::move(state.pickle_).finish();
  }

 private:
  enum Kept : std::uint8_t { kOrderedDict, kRebuild, kFirstStorageClass };

  void add(std::size_t number, const NamedTensor& tensor) {
    const auto& [name, view] = tensor;
    pickle_.text(name);
    if (number == 0) {
      pickle_.global("torch._utils", "_rebuild_tensor_v2");
      pickle_.put(kRebuild);
    } else {
      pickle_.get(kRebuild);
    }
    pickle_.opcode('(');  // the arguments: storage, offset, shape, strides, requires_grad, hooks
    add_storage(number, view);
    pickle_.integer(0);
    pickle_.tuple(view.shape);
    pickle_.tuple(view.strides);
    pickle_.opcode('\x89');
    pickle_.get(kOrderedDict);
    pickle_.opcode(')');
    pickle_.opcode('R');
    pickle_.opcode('t');
    pickle_.opcode('R');
  }

  // "storage", class, key, device, elements.
  void add_storage(std::size_t number, const ConstTensorView& view) {
    pickle_.opcode('(');
    pickle_.text("storage");
    const auto known = std::find(classes_.begin(), classes_.end(), view.dtype);
    const auto kept = static_cast<std::uint8_t>(kFirstStorageClass + (known - classes_.begin()));
    if (known == classes_.end()) {
      pickle_.global("torch", storage_class(view.dtype));
      pickle_.put(kept);
      classes_.push_back(view.dtype);
    } else {
      pickle_.get(kept);
    }
    pickle_.text(fmt::format("{}", number));
    pickle_.text("cpu");
    pickle_.integer(static_cast<std::uint64_t>(view.count()));
    pickle_.opcode('t');
    pickle_.opcode('Q');
  }

  PickleWriter pickle_;
  std::vector<DType> classes_;  // that were named already
};

}  // namespace

void write_pytorch(const std::filesystem::path& path, std::span<const NamedTensor> tensors) {
  check_writable(tensors, path);
  write_file_atomically(path, [&](const ByteSink& sink) {
    ZipWriter archive(sink);
    archive.add("archive/data.pkl", StateDictPickle::of(tensors));
    archive.add("archive/byteorder", "little");
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const ConstTensorView& view = tensors[i].second;
      const std::size_t bytes = static_cast<std::size_t>(view.count()) * size_of(view.dtype);
      archive.add(fmt::format("archive/data/{}", i), std::span(view.data, bytes));
    }
    archive.add("archive/version", "3\n");
    archive.finish();
  });
}

}  // namespace convnext
