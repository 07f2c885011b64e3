#include "io/pytorch_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include "convnext/error.h"
#include "io/file_limits.h"
#include "io/quoted.h"

namespace convnext {
namespace {

struct KnownGlobal {
  std::string_view name;
  GlobalRole role;
};

constexpr std::array kGlobals = {
    KnownGlobal{"collections.OrderedDict", GlobalRole::kMapping},
    KnownGlobal{"collections.defaultdict", GlobalRole::kMapping},
    KnownGlobal{"collections.Counter", GlobalRole::kMapping},

    KnownGlobal{"torch._utils._rebuild_tensor", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_tensor_v2", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_tensor_v3", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_parameter", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_parameter_with_state", GlobalRole::kCall},
    KnownGlobal{"torch._tensor._rebuild_from_type_v2", GlobalRole::kCall},
    KnownGlobal{"torch.nn.parameter.Parameter", GlobalRole::kCall},
    // Tensors without numbers that could be read here.
    KnownGlobal{"torch._utils._rebuild_qtensor", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_sparse_tensor", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_nested_tensor", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_meta_tensor_no_storage", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_wrapper_subclass", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_device_tensor_from_numpy", GlobalRole::kCall},
    KnownGlobal{"torch._utils._rebuild_device_tensor_from_cpu_tensor", GlobalRole::kCall},

    KnownGlobal{"torch.Size", GlobalRole::kCall},
    KnownGlobal{"torch.Tensor", GlobalRole::kConstant},
    KnownGlobal{"torch._tensor.Tensor", GlobalRole::kConstant},
    KnownGlobal{"torch.device", GlobalRole::kOpaque},
    KnownGlobal{"torch.serialization._get_layout", GlobalRole::kOpaque},
    KnownGlobal{"torch.per_tensor_affine", GlobalRole::kConstant},
    KnownGlobal{"torch.per_channel_affine", GlobalRole::kConstant},
    KnownGlobal{"torch.per_channel_affine_float_qparams", GlobalRole::kConstant},

    // What training checkpoints carry beside weights: settings, metrics, paths, states of random numbers.
    KnownGlobal{"_codecs.encode", GlobalRole::kOpaque},
    KnownGlobal{"argparse.Namespace", GlobalRole::kOpaque},
    KnownGlobal{"builtins.bytearray", GlobalRole::kOpaque},
    KnownGlobal{"builtins.bytes", GlobalRole::kOpaque},
    KnownGlobal{"builtins.complex", GlobalRole::kOpaque},
    KnownGlobal{"builtins.dict", GlobalRole::kOpaque},
    KnownGlobal{"builtins.float", GlobalRole::kOpaque},
    KnownGlobal{"builtins.frozenset", GlobalRole::kOpaque},
    KnownGlobal{"builtins.getattr", GlobalRole::kOpaque},  // of mmengine's HistoryBuffer
    KnownGlobal{"builtins.int", GlobalRole::kOpaque},
    KnownGlobal{"builtins.list", GlobalRole::kOpaque},
    KnownGlobal{"builtins.object", GlobalRole::kOpaque},
    KnownGlobal{"builtins.range", GlobalRole::kOpaque},
    KnownGlobal{"builtins.set", GlobalRole::kOpaque},
    KnownGlobal{"builtins.slice", GlobalRole::kOpaque},
    KnownGlobal{"builtins.str", GlobalRole::kOpaque},
    KnownGlobal{"builtins.tuple", GlobalRole::kOpaque},
    KnownGlobal{"collections.deque", GlobalRole::kOpaque},
    KnownGlobal{"copyreg._reconstructor", GlobalRole::kOpaque},
    KnownGlobal{"datetime.date", GlobalRole::kOpaque},
    KnownGlobal{"datetime.datetime", GlobalRole::kOpaque},
    KnownGlobal{"datetime.timedelta", GlobalRole::kOpaque},
    KnownGlobal{"numpy._core.multiarray._reconstruct", GlobalRole::kOpaque},
    KnownGlobal{"numpy._core.multiarray.scalar", GlobalRole::kOpaque},
    KnownGlobal{"numpy._core.numeric._frombuffer", GlobalRole::kOpaque},
    KnownGlobal{"numpy.core.multiarray._reconstruct", GlobalRole::kOpaque},
    KnownGlobal{"numpy.core.multiarray.scalar", GlobalRole::kOpaque},
    KnownGlobal{"numpy.core.numeric._frombuffer", GlobalRole::kOpaque},
    KnownGlobal{"numpy.bool_", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtype", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.BoolDType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.Float32DType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.Float64DType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.Int32DType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.Int64DType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.dtypes.UInt32DType", GlobalRole::kOpaque},
    KnownGlobal{"numpy.float32", GlobalRole::kOpaque},
    KnownGlobal{"numpy.float64", GlobalRole::kOpaque},
    KnownGlobal{"numpy.int32", GlobalRole::kOpaque},
    KnownGlobal{"numpy.int64", GlobalRole::kOpaque},
    KnownGlobal{"numpy.ndarray", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.Path", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.PosixPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.PurePath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.PurePosixPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.PureWindowsPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib.WindowsPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib._local.PosixPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib._local.PurePosixPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib._local.PureWindowsPath", GlobalRole::kOpaque},
    KnownGlobal{"pathlib._local.WindowsPath", GlobalRole::kOpaque},
    // Settings and logs of mmcv, mmengine (ConvNeXt for detection and segmentation) and Swin's code.
    KnownGlobal{"mmcv.utils.config.Config", GlobalRole::kOpaque},
    KnownGlobal{"mmcv.utils.config.ConfigDict", GlobalRole::kOpaque},
    KnownGlobal{"mmengine.config.config.Config", GlobalRole::kOpaque},
    KnownGlobal{"mmengine.config.config.ConfigDict", GlobalRole::kOpaque},
    KnownGlobal{"mmengine.logging.history_buffer.HistoryBuffer", GlobalRole::kOpaque},
    KnownGlobal{"yacs.config.CfgNode", GlobalRole::kOpaque},
};

// An element type of PyTorch: how dtypes and storage classes are called, and what they are here.
struct ElementType {
  std::string_view dtype_name;    // "torch.float32"
  std::string_view storage_name;  // "torch.FloatStorage"; empty where there is no such class
  std::uint64_t bytes;
  std::optional<DType> dtype;
};

constexpr std::array kElementTypes = {
    ElementType{"torch.float32", "torch.FloatStorage", 4, DType::kF32},
    ElementType{"torch.float64", "torch.DoubleStorage", 8, DType::kF64},
    ElementType{"torch.float16", "torch.HalfStorage", 2, DType::kF16},
    ElementType{"torch.bfloat16", "torch.BFloat16Storage", 2, DType::kBF16},
    ElementType{"torch.int64", "torch.LongStorage", 8, DType::kI64},
    ElementType{"torch.int32", "torch.IntStorage", 4, DType::kI32},
    ElementType{"torch.int16", "torch.ShortStorage", 2, DType::kI16},
    ElementType{"torch.int8", "torch.CharStorage", 1, DType::kI8},
    ElementType{"torch.uint8", "torch.ByteStorage", 1, DType::kU8},
    ElementType{"torch.uint8", "torch.storage.UntypedStorage", 1, DType::kU8},
    ElementType{"torch.uint8", "torch.UntypedStorage", 1, DType::kU8},
    ElementType{"torch.bool", "torch.BoolStorage", 1, DType::kBool},
    ElementType{"torch.uint16", {}, 2, DType::kU16},
    ElementType{"torch.uint32", {}, 4, DType::kU32},
    ElementType{"torch.uint64", {}, 8, DType::kU64},
    ElementType{"torch.complex32", {}, 4, std::nullopt},
    ElementType{"torch.complex64", "torch.ComplexFloatStorage", 8, std::nullopt},
    ElementType{"torch.complex128", "torch.ComplexDoubleStorage", 16, std::nullopt},
    ElementType{"torch.qint8", "torch.QInt8Storage", 1, std::nullopt},
    ElementType{"torch.quint8", "torch.QUInt8Storage", 1, std::nullopt},
    ElementType{"torch.qint32", "torch.QInt32Storage", 4, std::nullopt},
    ElementType{"torch.quint4x2", "torch.QUInt4x2Storage", 1, std::nullopt},
    ElementType{"torch.quint2x4", "torch.QUInt2x4Storage", 1, std::nullopt},
    ElementType{"torch.float8_e4m3fn", {}, 1, std::nullopt},
    ElementType{"torch.float8_e4m3fnuz", {}, 1, std::nullopt},
    ElementType{"torch.float8_e5m2", {}, 1, std::nullopt},
    ElementType{"torch.float8_e5m2fnuz", {}, 1, std::nullopt},
    ElementType{"torch.float8_e8m0fnu", {}, 1, std::nullopt},
};

constexpr std::array<std::string_view, 3> kPlainKeys = {"model", "state_dict", "module"};
constexpr std::array<std::string_view, 2> kAverageKeys = {"model_ema", "state_dict_ema"};
// OpenMMLab's trainer exchanges the two when it saves: "state_dict" is the average, and this what it is the average of
// (mmengine/hooks/ema_hook.py).
constexpr std::string_view kExchangedKey = "ema_state_dict";

// Where OpenMMLab's trainers say what the classes are called, the newest first (mmdet/apis/inference.py).
constexpr std::string_view kClassKeys[][3] = {{"meta", "dataset_meta", "classes"},
                                              {"meta", "dataset_meta", "CLASSES"},
                                              {"meta", "CLASSES", ""},
                                              {"meta", "classes", ""}};

constexpr std::size_t kMaxAxes = 16;      // PyTorch allows 64, no weight has more than 5
constexpr std::size_t kMaxMetadata = 16;  // items; PyTorch writes two, and many tensors may share a dict of them
constexpr std::size_t kMostExamples = 4;  // of names in a note
constexpr std::size_t kMostKeys = 12;

constexpr std::string_view kRebuild = "torch._utils._rebuild_tensor";
constexpr std::string_view kRebuildTyped = "torch._utils._rebuild_tensor_v3";

bool is_text(const PickleValue& value) {
  return value.type == PickleType::kText || value.type == PickleType::kBytes;  // Python 2 has bytes in its place
}

// Says what is wrong with one tensor.
struct Problem {
  std::string_view source;
  std::string_view name;
  [[noreturn]] void operator()(std::string_view what) const {
    throw Error(ErrorCode::kDamaged, fmt::format("{}: tensor {}: {}", source, in_quotes(name), what));
  }
};

std::uint64_t unsigned_of(const PickleValue& value, std::string_view what, const auto& damaged) {
  if (value.type != PickleType::kInteger) damaged(fmt::format("{} is no integer", what));
  if (value.integer < 0) damaged(fmt::format("{} is {}", what, value.integer));
  return static_cast<std::uint64_t>(value.integer);
}

Shape sizes_of(const PickleValue& value, std::string_view what, const Problem& damaged) {
  const PickleValue* list = &value;
  if (value.type == PickleType::kCall && value.text == "torch.Size" && value.items.size() == 1) {
    list = value.items.front();
  }
  if (list->type != PickleType::kTuple && list->type != PickleType::kList) damaged(fmt::format("{} is no tuple", what));
  if (list->items.size() > kMaxAxes) damaged(fmt::format("{} has more than {} axes", what, kMaxAxes));
  Shape sizes;
  for (const PickleValue* item : list->items) {
    sizes.push_back(static_cast<std::int64_t>(unsigned_of(*item, fmt::format("{}[{}]", what, sizes.size()), damaged)));
  }
  return sizes;
}

// Elements from the first to the last that the tensor reaches; nothing when 63 bits cannot count them.
std::optional<std::uint64_t> reach(const PytorchTensor& tensor) {
  if (std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end()) return 0;
  std::int64_t last = 0;
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    std::int64_t step = 0;
    if (__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.strides[axis], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  if (__builtin_add_overflow(last, std::int64_t{1}, &last)) return std::nullopt;
  if (__builtin_add_overflow(last, static_cast<std::int64_t>(tensor.offset), &last)) return std::nullopt;
  return static_cast<std::uint64_t>(last);
}

void check_extent(const PytorchTensor& tensor, const Problem& damaged) {
  std::int64_t bytes = 0;
  try {
    if (__builtin_mul_overflow(element_count(tensor.shape), static_cast<std::int64_t>(size_of(tensor.dtype)), &bytes)) {
      damaged(fmt::format("{} is more than any file holds", to_string(tensor.shape)));
    }
  } catch (const Error&) {
    damaged(fmt::format("{} is more than any file holds", to_string(tensor.shape)));
  }
  const std::optional<std::uint64_t> needed = reach(tensor);
  const PytorchStorage& storage = tensor.storage;
  const std::uint64_t held = storage.part_elements * storage.element_bytes / size_of(tensor.dtype);
  if (!needed || *needed > held) {
    damaged(fmt::format("{} with strides {} from element {} on ends behind its storage {}, which has {}",
                        to_string(tensor.shape), to_string(tensor.strides), tensor.offset, in_quotes(storage.key),
                        held));
  }
}

// A value of a state dict, as far as it is a tensor.
struct Rebuilt {
  std::optional<PytorchTensor> tensor;
  std::string_view reason;  // why a tensor is passed over; empty for what is none
};

bool is_true(const PickleValue* value) { return value && value->type == PickleType::kBool && value->integer != 0; }

Rebuilt rebuild_tensor(std::string_view function, std::span<const PickleValue* const> arguments,
                       const Problem& damaged) {
  if (arguments.size() < 4) damaged(fmt::format("{} has {} arguments", function, arguments.size()));
  if (arguments[0]->type != PickleType::kPersistent) damaged("its first argument is no storage");
  PytorchTensor tensor;
  tensor.name = damaged.name;
  tensor.storage = pytorch_storage(*arguments[0], damaged.source);
  tensor.offset = unsigned_of(*arguments[1], "its offset", damaged);
  tensor.shape = sizes_of(*arguments[2], "its shape", damaged);
  tensor.strides = sizes_of(*arguments[3], "its strides", damaged);
  if (tensor.shape.size() != tensor.strides.size()) {
    damaged(fmt::format("it has the shape {} and the strides {}", to_string(tensor.shape), to_string(tensor.strides)));
  }

  const bool typed = function == kRebuildTyped;
  std::optional<DType> dtype = tensor.storage.dtype;
  if (typed) {
    if (arguments.size() < 7 || arguments[6]->type != PickleType::kGlobal) damaged("it has no dtype");
    const auto type = std::find_if(kElementTypes.begin(), kElementTypes.end(),
                                   [&](const ElementType& known) { return known.dtype_name == arguments[6]->text; });
    if (type == kElementTypes.end()) damaged(fmt::format("{} is no dtype", in_quotes(arguments[6]->text)));
    dtype = type->dtype;
  }
  if (!dtype) return {std::nullopt, "complex, quantised or 8-bit float"};
  tensor.dtype = *dtype;
  // Views that PyTorch negates or conjugates only when they are used.
  if (const std::size_t at = typed ? 7 : 6; arguments.size() > at) {
    const PickleValue& metadata = *arguments[at];
    if (metadata.items.size() > 2 * kMaxMetadata) damaged(fmt::format("its metadata has over {} items", kMaxMetadata));
    if (is_true(metadata.find("neg")) || is_true(metadata.find("conj"))) return {std::nullopt, "negated views"};
  }
  check_extent(tensor, damaged);
  return {std::move(tensor), {}};
}

Rebuilt rebuild(const PickleValue& value, const Problem& damaged) {
  const PickleValue* call = &value;
  std::span<const PickleValue* const> arguments;
  std::string_view function;
  // Parameters and tensors with attributes wrap the call that makes the tensor.
  constexpr int kMostWrappers = 8;
  for (int wrapper = 0; wrapper < kMostWrappers; ++wrapper) {
    if (call->type != PickleType::kCall) return {};
    function = call->text;
    arguments = call->items;
    if (function == "torch._tensor._rebuild_from_type_v2") {  // (function, type, arguments, state)
      if (arguments.size() < 3 || arguments[0]->type != PickleType::kGlobal ||
          arguments[2]->type != PickleType::kTuple) {
        damaged(fmt::format("{} has other arguments than it takes", function));
      }
      function = arguments[0]->text;
      arguments = arguments[2]->items;
    }
    if (function.starts_with("torch._utils._rebuild_parameter") || function == "torch.nn.parameter.Parameter") {
      if (arguments.empty()) damaged(fmt::format("{} has no arguments", function));
      call = arguments[0];
      continue;
    }
    if (function == kRebuild || function == "torch._utils._rebuild_tensor_v2" || function == kRebuildTyped) {
      return rebuild_tensor(function, arguments, damaged);
    }
    if (function.starts_with(kRebuild.substr(0, kRebuild.rfind('_')))) {
      return {std::nullopt, "sparse, quantised or without numbers"};
    }
    return {};
  }
  damaged("parameters of parameters");
}

bool holds_tensors(const PickleValue& value) {
  if (value.type != PickleType::kDict) return false;
  for (std::size_t i = 1; i < value.items.size(); i += 2) {
    if (value.items[i]->type == PickleType::kCall && value.items[i]->text != "torch.Size") return true;
  }
  return false;
}

std::vector<std::string_view> text_keys(const PickleValue& dict) {
  std::vector<std::string_view> keys;
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    if (is_text(*dict.items[i])) keys.push_back(dict.items[i]->text);
  }
  return keys;
}

// The dict whose values are tensors.
const PickleValue& find_dict(const PickleValue& root, bool prefer_average, std::string_view source,
                             std::vector<std::string>& notes) {
  if (root.type != PickleType::kDict) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} holds no dict of tensors at its top; save the model's state_dict()", source));
  }
  std::vector<std::string_view> order(kPlainKeys.begin(), kPlainKeys.end());
  order.insert(prefer_average ? order.begin() : order.end(), kAverageKeys.begin(), kAverageKeys.end());
  order.insert(prefer_average ? order.end() : order.begin(), kExchangedKey);
  for (const std::string_view key : order) {
    const PickleValue* const found = root.find(key);
    if (!found || !holds_tensors(*found)) continue;
    notes.push_back(fmt::format("took '{}' of {}", key, examples_of(text_keys(root), kMostKeys)));
    return *found;
  }
  if (holds_tensors(root)) return root;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{} holds no tensors at its top, nor under {} or {}; it has {}", source,
                          examples_of(kPlainKeys, kMostKeys), examples_of(kAverageKeys, kMostKeys),
                          root.items.empty() ? "nothing" : examples_of(text_keys(root), kMostKeys)));
}

// None is what a trainer writes that knows no names.
const PickleValue* find_under(const PickleValue& root, std::span<const std::string_view> keys) {
  const PickleValue* value = &root;
  for (const std::string_view key : keys) {
    if (key.empty()) break;
    value = value->find(key);
    if (value == nullptr || value->type == PickleType::kNone) return nullptr;
  }
  return value;
}

// `most_bytes`: of all names together, which the memo could repeat without end.
std::vector<std::string> names_in(const PickleValue& list, std::size_t most_bytes) {
  if (list.type != PickleType::kTuple && list.type != PickleType::kList) return {};
  std::vector<std::string> names;
  std::size_t bytes = 0;
  for (const PickleValue* item : list.items) {
    if (!is_text(*item) || item->text.empty() || (bytes += item->text.size()) > most_bytes) return {};
    names.emplace_back(item->text);
  }
  return names;
}

NamedClasses find_classes(const Pickle& pickle) {
  for (const auto& keys : kClassKeys) {
    const PickleValue* const found = find_under(pickle.root(), keys);
    if (found == nullptr) continue;
    std::string key(keys[0]);
    for (const std::string_view inner : {keys[1], keys[2]}) {
      if (!inner.empty()) key += fmt::format(".{}", inner);
    }
    return {std::move(key), names_in(*found, pickle.size())};
  }
  return {};
}

}  // namespace

GlobalRole role_in_pytorch(std::string_view name) {
  for (const KnownGlobal& known : kGlobals) {
    if (known.name == name) return known.role;
  }
  for (const ElementType& type : kElementTypes) {
    if (type.dtype_name == name || (!type.storage_name.empty() && type.storage_name == name)) {
      return GlobalRole::kConstant;
    }
  }
  return GlobalRole::kUnknown;
}

PytorchStorage pytorch_storage(const PickleValue& persistent, std::string_view source) {
  const auto damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("{}: a storage is damaged: {}", source, what));
  };
  const PickleValue& id = *persistent.items.front();
  // ("storage", class, key, device, elements), and in files of before 1.6 (key, first, elements) of a part, or None.
  if (id.type != PickleType::kTuple || id.items.size() < 5 || id.items.size() > 6) damaged("it has no five fields");
  if (!is_text(*id.items[0]) || id.items[0]->text != "storage") damaged("it is not called so");
  if (id.items[1]->type != PickleType::kGlobal) damaged("it has no class");
  if (!is_text(*id.items[2])) damaged("its key is no string");
  const auto type = std::find_if(kElementTypes.begin(), kElementTypes.end(), [&](const ElementType& known) {
    return !known.storage_name.empty() && known.storage_name == id.items[1]->text;
  });
  if (type == kElementTypes.end()) damaged(fmt::format("its class is {}", in_quotes(id.items[1]->text)));

  PytorchStorage storage{id.items[2]->text, type->dtype, type->bytes, 0, 0, 0};
  storage.elements = unsigned_of(*id.items[4], "its number of elements", damaged);
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(storage.elements, storage.element_bytes, &bytes) ||
      bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    damaged(fmt::format("{} elements are more than any file holds", storage.elements));
  }
  storage.part_elements = storage.elements;
  if (id.items.size() == 6 && id.items[5]->type != PickleType::kNone) {
    const PickleValue& part = *id.items[5];
    if (part.type != PickleType::kTuple || part.items.size() != 3) damaged("its part is no tuple of three");
    storage.first = unsigned_of(*part.items[1], "the beginning of its part", damaged);
    storage.part_elements = unsigned_of(*part.items[2], "the size of its part", damaged);
    if (storage.first > storage.elements || storage.part_elements > storage.elements - storage.first) {
      damaged(fmt::format("{} elements from {} on are a part of {}", storage.part_elements, storage.first,
                          storage.elements));
    }
  }
  return storage;
}

PytorchState find_pytorch_state(const Pickle& pickle, const TensorFileOptions& options, std::string_view source) {
  PytorchState state;
  const PickleValue& dict = find_dict(pickle.root(), options.prefer_average, source, state.notes);
  std::set<std::string_view> names;
  std::vector<std::string_view> others;
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleValue& key = *dict.items[i];
    const PickleValue& value = *dict.items[i + 1];
    if (!is_text(key)) continue;
    Rebuilt rebuilt = rebuild(value, {source, key.text});
    if (!rebuilt.tensor && rebuilt.reason.empty()) {
      others.push_back(key.text);
      continue;
    }
    if (!names.insert(key.text).second) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: tensor {} stands twice", source, in_quotes(key.text)));
    }
    if (std::cmp_greater(names.size(), options.limits.max_tensors)) {
      throw_too_many_tensors(source, key.text, names.size(), options.limits);
    }
    if (rebuilt.tensor) {
      state.tensors.push_back(std::move(*rebuilt.tensor));
    } else {
      state.unread.emplace(key.text, rebuilt.reason);
    }
  }
  if (!others.empty()) {
    state.notes.push_back(fmt::format("passed over what is no tensor: {}", examples_of(others, kMostExamples)));
  }
  state.classes = find_classes(pickle);
  return state;
}

}  // namespace convnext
