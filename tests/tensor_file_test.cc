#include "io/tensor_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "io/zip_archive.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string_view bytes_of(const ConstTensorView& view) {
  return {reinterpret_cast<const char*>(view.data), static_cast<std::size_t>(view.count()) * size_of(view.dtype)};
}

void expect_same(const ConstTensorView& actual, const ConstTensorView& expected) {
  EXPECT_EQ(actual.dtype, expected.dtype);
  EXPECT_EQ(actual.shape, expected.shape);
  EXPECT_TRUE(actual.is_contiguous());
  EXPECT_EQ(bytes_of(actual), bytes_of(expected));
}

// What torch.load makes of a golden, as the safetensors package wrote it.
void expect_golden(const TensorFile& file, const std::string& name) {
  const SafetensorsFile expected = SafetensorsFile::open(golden_path("files/" + name + ".pth.safetensors"));
  EXPECT_EQ(file.tensors.size(), expected.tensors().size());
  for (const auto& [key, view] : expected.tensors()) {
    SCOPED_TRACE(key);
    ASSERT_TRUE(file.tensors.contains(key));
    expect_same(file.tensors.find(key)->second, view);
  }
}

TensorFile open_pytorch_golden(const std::string& name, const TensorFileOptions& options = {}) {
  return open_tensor_file(golden_path("files/" + name + ".pth"), options);
}

class PytorchGolden : public testing::TestWithParam<std::string> {};

TEST_P(PytorchGolden, HoldsWhatTorchLoadReads) {
  const TensorFile file = open_pytorch_golden(GetParam());
  EXPECT_EQ(file.kind, GetParam() == "legacy" ? TensorFileKind::kPytorchLegacy : TensorFileKind::kPytorchZip);
  EXPECT_FALSE(file.owners.empty());
  expect_golden(file, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Files, PytorchGolden,
                         testing::Values("every_dtype", "strided", "deflated", "protocol_4", "without_checksums",
                                         "legacy", "parameters", "training", "mmengine"),
                         [](const auto& test) { return test.param; });

TEST(PytorchFile, SharedStoragesAreViewsAndOthersAreLaidOut) {
  for (const std::string name : {"strided", "legacy"}) {
    SCOPED_TRACE(name);
    const TensorFile file = open_pytorch_golden(name);
    const auto at = [&](const char* key) { return file.tensors.find(key)->second; };
    EXPECT_EQ(at("again").data, at("pool").data);
    EXPECT_EQ(at("row").data, at("pool").data + 6 * sizeof(float));
    // Laid out are columns, transposed, channels_last, column, expanded, half, double and byte; not pointwise, whose
    // axes of one element may have any stride.
    EXPECT_EQ(file.owners.size(), 1u + 8u);
    // The same numbers in another order: a reader that takes the storage as it lies is found out.
    EXPECT_NE(bytes_of(at("transposed")), bytes_of(at("pool")));
    EXPECT_EQ(bytes_of(at("transposed")).size(), bytes_of(at("pool")).size());
  }
}

TEST(PytorchFile, WhatHasNoTypeHereIsPassedOverWithANote) {
  const TensorFile file = open_pytorch_golden("every_dtype");
  EXPECT_THAT(file.notes, ElementsAre(AllOf(HasSubstr("passed over"), HasSubstr("'complex', 'float8'"))));
  EXPECT_FALSE(file.tensors.contains("complex"));
  EXPECT_EQ(file.tensors.find("counter")->second.dtype, DType::kI64);
}

TEST(PytorchFile, TheAverageIsTakenUnlessTheOthersAreAskedFor) {
  const TensorFile average = open_pytorch_golden("training");
  EXPECT_THAT(average.notes, ElementsAre(HasSubstr("took 'model_ema' of 'model', 'optimizer', 'epoch'")));
  const TensorFile plain = open_pytorch_golden("training", {.prefer_average = false});
  EXPECT_THAT(plain.notes, ElementsAre(HasSubstr("took 'model' of")));
  ASSERT_TRUE(plain.tensors.contains("0.weight"));
  EXPECT_EQ(plain.tensors.size(), average.tensors.size());
  EXPECT_NE(bytes_of(plain.tensors.find("0.weight")->second), bytes_of(average.tensors.find("0.weight")->second));
  EXPECT_THAT(open_pytorch_golden("mmengine").notes,
              ElementsAre("took 'state_dict' of 'meta', 'message_hub', 'state_dict'"));
  EXPECT_THAT(open_pytorch_golden("mmengine").classes.names, ElementsAre("cat", "dog"));
  EXPECT_THAT(open_pytorch_golden("parameters").notes, IsEmpty());
}

// For whoever needs one of them after all.
TEST(PytorchFile, WhatHasNoTypeHereIsListed) {
  const TensorFile file = open_pytorch_golden("every_dtype");
  EXPECT_EQ(file.unread.at("complex"), "complex, quantised or 8-bit float");
  EXPECT_EQ(file.unread.size(), 2u);
}

TEST(PytorchFile, AWholeModelIsRefusedByTheNameOfItsClass) {
  expect_error(ErrorCode::kUnsupported,
               {"whole_model.pth", "data.pkl", "'torch.nn.modules.linear.Linear' at byte 2", "state_dict()"},
               [] { open_pytorch_golden("whole_model"); });
}

// A PyTorch file around a pickle that was written by hand.
class HandmadeFile : public testing::Test {
 protected:
  using Members = std::vector<std::pair<std::string, std::string>>;

  std::filesystem::path path() const { return folder_ / "a.pth"; }

  TensorFile open_bytes(const std::string& bytes, const TensorFileOptions& options = {}) const {
    std::filesystem::remove(path());  // a file that is cut to nothing and written again goes to the disk at once
    folder_.write("a.pth", bytes);
    return open_tensor_file(path(), options);
  }
  static std::string zip_of(const Members& members) {
    std::string bytes;
    const ByteSink sink = [&](std::span<const std::byte> part) {
      bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    };
    ZipWriter zip(sink);
    for (const auto& [name, text] : members) zip.add(name, text);
    zip.finish();
    return bytes;
  }
  // A storage of 6 floats and a pickle of one tensor.
  TensorFile open_pickle(const std::string& pickle, const Members& more = {}) const {
    Members members = {{"a/data.pkl", pickle}, {"a/data/0", std::string(24, '\x01')}};
    members.insert(members.end(), more.begin(), more.end());
    return open_bytes(zip_of(members));
  }
  void expect_refused(ErrorCode code, const std::string& pickle, std::initializer_list<std::string> texts) const {
    expect_error(code, {path().string()}, [&] { open_pickle(pickle); });
    expect_error(code, texts, [&] { open_pickle(pickle); });
  }

  TemporaryFolder folder_;
};

std::string text(std::string_view value) { return fmt::format("\x8c{}{}", static_cast<char>(value.size()), value); }
std::string number(std::int64_t value) {
  std::string bytes = "\x8a\x08";
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}
std::string tuple(const std::vector<std::int64_t>& values) {
  std::string bytes = "(";
  for (const std::int64_t value : values) bytes += number(value);
  return bytes + "t";
}
std::string storage(std::int64_t elements, const std::string& type = "torch\nFloatStorage\n",
                    const std::string& key = "0") {
  return std::string("(") + text("storage") + "c" + type + text(key) + text("cpu") + number(elements) + "tQ";
}
std::string tensor(const std::string& storage_id, std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id + number(offset) + tuple(shape) + tuple(strides) +
         "\x89NtR";
}
std::string dict_of(const std::string& value) { return std::string("\x80\x04}") + text("w") + value + "s."; }

TEST_F(HandmadeFile, IsReadWhenItIsRight) {
  const TensorFile file = open_pickle(dict_of(tensor(storage(6), 1, {2, 2}, {2, 1})));
  EXPECT_EQ(file.tensors.at("w").shape, (Shape{2, 2}));
  EXPECT_EQ(bytes_of(file.tensors.at("w")), std::string(16, '\x01'));
  EXPECT_EQ(open_pickle(dict_of(tensor(storage(6), 0, {}, {}))).tensors.at("w").count(), 1);
  EXPECT_EQ(open_pickle(dict_of(tensor(storage(6), 100, {3, 0}, {1, 1}))).tensors.at("w").count(), 0);
  // An axis of one element is never gone along, whatever its stride.
  const std::int64_t any = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(open_pickle(dict_of(tensor(storage(6), 0, {1, 2, 1, 3}, {any, 1, any, 2}))).tensors.at("w").count(), 6);
}

// What OpenMMLab's trainers wrote over the years, and what is no names.
TEST_F(HandmadeFile, ClassesAreNamedByItsMeta) {
  const auto classes_of = [&](const std::string& meta) {
    const std::string weights = "}" + text("w") + tensor(storage(6), 0, {6}, {1}) + "s";
    return open_pickle("\x80\x04}" + text("meta") + meta + "s" + text("state_dict") + weights + "s.").classes;
  };
  const auto entry = [](std::string_view key, const std::string& value) { return "}" + text(key) + value + "s"; };
  const std::string two = "(" + text("cat") + text("sea lion");
  for (const auto& [meta, key] : std::vector<std::pair<std::string, std::string>>{
           {entry("CLASSES", two + "t"), "meta.CLASSES"},
           {entry("CLASSES", "]" + two + "e"), "meta.CLASSES"},
           {entry("classes", two + "t"), "meta.classes"},
           {entry("dataset_meta", entry("classes", two + "t")), "meta.dataset_meta.classes"},
           {entry("dataset_meta", entry("CLASSES", two + "t")), "meta.dataset_meta.CLASSES"},
           // The newer way to say it wins, unless it says nothing.
           {"}" + text("CLASSES") + "(" + text("old") + "ts" + text("dataset_meta") + entry("classes", two + "t") + "s",
            "meta.dataset_meta.classes"},
           {"}" + text("CLASSES") + two + "ts" + text("dataset_meta") + entry("classes", "N") + "s", "meta.CLASSES"}}) {
    const NamedClasses classes = classes_of(meta);
    EXPECT_EQ(classes.key, key);
    EXPECT_THAT(classes.names, ElementsAre("cat", "sea lion")) << key;
  }
  for (const std::string& meta : {std::string("}"), std::string("N"), text("CLASSES"), entry("CLASSES", "N")}) {
    EXPECT_EQ(classes_of(meta).key, "");
  }
  std::string repeated = "(" + text(std::string(100, 'a')) + "\x94";  // kept under 0 and called back
  for (int i = 0; i < 100; ++i) repeated += std::string("h\0", 2);
  for (const std::string& value : {text("cat"), number(3), "(" + text("cat") + number(3) + "t", "(" + text("") + "t",
                                   "}" + text("cat") + number(0) + "s", std::string(")"), repeated + "t"}) {
    const NamedClasses classes = classes_of(entry("CLASSES", value));
    EXPECT_EQ(classes.key, "meta.CLASSES");
    EXPECT_THAT(classes.names, IsEmpty());
  }
}

TEST_F(HandmadeFile, KeysOfPython2AreNames) {
  const std::string pair = std::string("U\x01w") + tensor(storage(6), 0, {6}, {1}) + "\x86";
  const TensorFile file = open_pickle("ccollections\nOrderedDict\n](" + pair + "e\x85R.");
  EXPECT_TRUE(file.tensors.contains("w"));
}

TEST_F(HandmadeFile, TensorsBeyondTheirStorageAreRefused) {
  struct Case {
    std::int64_t offset;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    std::string text;
  };
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  for (const Case& wrong : std::vector<Case>{
           {0, {7}, {1}, "ends behind its storage '0', which has 6"},
           {1, {2, 3}, {3, 1}, "ends behind"},
           {6, {}, {}, "ends behind"},
           {0, {2, 2}, {5, 1}, "ends behind"},
           {huge, {1}, {1}, "ends behind"},
           {0, {2}, {huge}, "ends behind"},
           {huge, {2}, {huge}, "ends behind"},
           {0, {3}, {huge / 2}, "ends behind"},
           {0, {huge}, {0}, "more than any file holds"},
           {0, {huge, huge}, {0, 0}, "more than any file holds"},
           {0, {huge / 8, 1}, {0, 1}, "repeat the storage's numbers"},
           {0, {1'000'000}, {0}, "repeat the storage's numbers"},
           {-1, {1}, {1}, "its offset is -1"},
           {0, {-1}, {1}, "its shape[0] is -1"},
           {5, {2}, {-1}, "its strides[0] is -1"},
           {0, {2, 3}, {1}, "the shape (2, 3) and the strides (1,)"},
           {0, std::vector<std::int64_t>(17, 1), std::vector<std::int64_t>(17, 1), "more than 16 axes"}}) {
    SCOPED_TRACE(wrong.text);
    expect_refused(ErrorCode::kDamaged, dict_of(tensor(storage(6), wrong.offset, wrong.shape, wrong.strides)),
                   {"data.pkl", "tensor 'w'", wrong.text});
  }
}

TEST_F(HandmadeFile, StoragesThatLieAreRefused) {
  const auto refused = [&](const std::string& id, const std::string& what) {
    SCOPED_TRACE(what);
    expect_refused(ErrorCode::kDamaged, dict_of(tensor(id, 0, {1}, {1})), {what});
  };
  refused(storage(7), "its storage '0' has 24 bytes, and 7 elements of 4 bytes");
  refused(storage(6, "torch\nDoubleStorage\n"), "24 bytes");
  refused(storage(6, "torch\nFloatStorage\n", "1"), "the archive has no storage '1'");
  refused(storage(6, "torch\nFloatStorage\n", "../../a/data.pkl"), "no storage '../../a/data.pkl'");
  refused(storage(-1), "its number of elements is -1");
  refused(storage(std::numeric_limits<std::int64_t>::max()), "more than any file holds");
  refused(storage(6, "torch\nfloat32\n"), "its class is 'torch.float32'");
  refused("NQ", "a storage is damaged");
  refused(std::string("(") + text("module") + "NNNNtQ", "a storage is damaged");
  refused("N", "its first argument is no storage");
}

TEST_F(HandmadeFile, TensorsThatShareAStorageTooOftenAreRefused) {
  const auto file_of = [](int tensors) {
    constexpr std::int64_t kElements = 25'000;
    std::string pickle = "\x80\x04}";
    for (int i = 0; i < tensors; ++i) {
      pickle += text(fmt::format("{}", i)) + tensor(storage(kElements), 0, {kElements}, {1}) + "s";
    }
    return zip_of({{"a/data.pkl", pickle + "."}, {"a/data/0", std::string(4 * kElements, '\x01')}});
  };
  EXPECT_EQ(open_bytes(file_of(60)).tensors.size(), 60u);
  expect_error(ErrorCode::kDamaged, {path().string(), "share the storages' numbers beyond 64 times"},
               [&] { open_bytes(file_of(200)); });
}

// Tensors that are passed over count too, and metadata is looked through for each of them.
TEST_F(HandmadeFile, TensorsThatAreNotReadAreLimited) {
  const std::string complex = std::string("ctorch._utils\n_rebuild_tensor_v2\n(") +
                              storage(6, "torch\nComplexFloatStorage\n") + number(0) + tuple({1}) + tuple({1}) +
                              "\x89NtR";
  const std::string pickle = "\x80\x04}" + text("a") + complex + "s" + text("b") + complex + "s.";
  const std::string bytes = zip_of({{"a/data.pkl", pickle}});
  EXPECT_EQ(open_bytes(bytes, {.limits = {.max_tensors = 2}}).tensors.size(), 0u);
  expect_error(ErrorCode::kUnsupported, {path().string(), "with 'b' it holds 2 tensors"},
               [&] { open_bytes(bytes, {.limits = {.max_tensors = 1}}); });

  const auto with_metadata = [](int items) {
    std::string metadata = "}";
    for (int i = 0; i < items; ++i) metadata += text(fmt::format("{}", i)) + "Ns";
    return dict_of(std::string("ctorch._utils\n_rebuild_tensor_v2\n(") + storage(6) + number(0) + tuple({6}) +
                   tuple({1}) + "\x89N" + metadata + "tR");
  };
  EXPECT_EQ(open_pickle(with_metadata(16)).tensors.size(), 1u);
  expect_refused(ErrorCode::kDamaged, with_metadata(17), {"tensor 'w'", "metadata has over 16 items"});
}

TEST_F(HandmadeFile, NamesInMessagesDriveNoTerminal) {
  const auto shown_as = [&](const std::string& name, const std::string& shown) {
    SCOPED_TRACE(shown);
    const std::string wrong = tensor(storage(6), 7, {1}, {1});
    const std::string bytes = std::string("\x80\x04}U") + static_cast<char>(name.size()) + name + wrong + "s.";
    expect_refused(ErrorCode::kDamaged, bytes, {"tensor " + shown + ":"});
  };
  shown_as("\x1b[2J\x7f", "'\\x1b[2J\\x7f'");
  shown_as(
      "a\xc2\x9b"
      "2J\xc2\x80",
      "'a\\u009b2J\\u0080'");
  shown_as("\xc2\xa0\xc3\xa9\xf0\x9f\x90\x88", "'\xc2\xa0\xc3\xa9\xf0\x9f\x90\x88'");
  shown_as("\x9b\xff\xc3", "'\\x9b\\xff\\xc3'");
  const std::string long_name(199, 'n');
  shown_as(long_name + "\xc3\xa9", "'" + long_name + "...'");
  shown_as(long_name.substr(1) + "\xc3\xa9", std::string("'") + long_name.substr(1) + "\xc3\xa9'");
}

TEST_F(HandmadeFile, WhatIsNoStateDictIsRefused) {
  expect_refused(ErrorCode::kUnsupported, "K\x01.", {"no dict of tensors", "state_dict()"});
  expect_refused(ErrorCode::kUnsupported, "}.", {"no tensors at its top", "nothing"});
  expect_refused(ErrorCode::kUnsupported, std::string("}") + text("net") + "}s.", {"'model'", "it has 'net'"});
  expect_refused(ErrorCode::kDamaged,
                 std::string("}") + text("w") + tensor(storage(6), 0, {6}, {1}) + "s" + text("w") +
                     tensor(storage(6), 0, {6}, {1}) + "s.",
                 {"tensor 'w' stands twice"});
  expect_refused(ErrorCode::kUnsupported, dict_of(std::string("cos\nsystem\n(") + text("true") + "tR"),
                 {"'os.system'", "at byte"});
  expect_refused(ErrorCode::kDamaged, dict_of("ctorch._utils\n_rebuild_tensor_v2\n)R"), {"tensor 'w'", "0 arguments"});
  expect_refused(ErrorCode::kDamaged, dict_of("ctorch._utils\n_rebuild_parameter\n)R"), {"tensor 'w'", "no arguments"});
}

// OpenMMLab's trainer saves the average as "state_dict", and what it averages as "ema_state_dict".
TEST_F(HandmadeFile, OpenMmlabsAverageIsTheOneThatIsNotCalledSo) {
  const auto one = [](const std::string& name, const std::string& key) {
    return "}" + text(name) + tensor(storage(6, "torch\nFloatStorage\n", key), 0, {6}, {1}) + "s";
  };
  const std::string pickle = std::string("\x80\x04}") + text("state_dict") + one("w", "0") + "s" +
                             text("ema_state_dict") + one("module.w", "1") + "s.";
  const std::string bytes =
      zip_of({{"a/data.pkl", pickle}, {"a/data/0", std::string(24, '\x01')}, {"a/data/1", std::string(24, '\x02')}});
  const TensorFile average = open_bytes(bytes);
  EXPECT_THAT(average.notes, ElementsAre("took 'state_dict' of 'state_dict', 'ema_state_dict'"));
  EXPECT_EQ(bytes_of(average.tensors.at("w")), std::string(24, '\x01'));
  const TensorFile plain = open_bytes(bytes, {.prefer_average = false});
  EXPECT_THAT(plain.notes, ElementsAre("took 'ema_state_dict' of 'state_dict', 'ema_state_dict'"));
  EXPECT_EQ(bytes_of(plain.tensors.at("module.w")), std::string(24, '\x02'));
}

TEST_F(HandmadeFile, ANameOfTensorsThatAreNotReadMayNotStandTwice) {
  const std::string complex = std::string("ctorch._utils\n_rebuild_tensor_v2\n(") +
                              storage(6, "torch\nComplexFloatStorage\n") + number(0) + tuple({1}) + tuple({1}) +
                              "\x89NtR";
  expect_refused(ErrorCode::kDamaged, std::string("\x80\x04}") + text("a") + complex + "s" + text("a") + complex + "s.",
                 {"tensor 'a' stands twice"});
}

TEST_F(HandmadeFile, OtherKindsOfArchivesAreRefusedByName) {
  const std::string pickle = dict_of(tensor(storage(6), 0, {6}, {1}));
  expect_error(ErrorCode::kUnsupported, {path().string(), "TorchScript"}, [&] {
    open_pickle(pickle, {{"a/constants.pkl", ""}});
  });
  expect_error(ErrorCode::kUnsupported, {path().string(), "TorchScript"}, [&] {
    open_pickle(pickle, {{"a/code/__torch__.py", ""}});
  });
  expect_error(ErrorCode::kUnsupported, {path().string(), "byte order 'big'"}, [&] {
    open_pickle(pickle, {{"a/byteorder", "big"}});
  });
  EXPECT_EQ(open_pickle(pickle, {{"a/byteorder", "little"}}).tensors.size(), 1u);
  expect_error(ErrorCode::kUnsupported, {path().string(), "without data.pkl"}, [&] {
    open_bytes(zip_of({{"word/document.xml", "<xml>"}}));
  });
  expect_error(ErrorCode::kDamaged, {path().string(), "more than one data.pkl"}, [&] {
    open_pickle(pickle, {{"b/data.pkl", pickle}});
  });
  expect_error(ErrorCode::kDamaged, {path().string(), "'a/data/0' stands twice"}, [&] {
    open_pickle(pickle, {{"a/data/0", "other"}});
  });
}

TEST_F(HandmadeFile, FilesInPlaceOfWeightsAreToldByWhatTheyAre) {
  const auto refused = [&](ErrorCode code, const std::string& bytes, const std::string& what) {
    SCOPED_TRACE(what);
    expect_error(code, {path().string(), what}, [&] { open_bytes(bytes); });
  };
  refused(ErrorCode::kUnsupported, "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull");
  refused(ErrorCode::kUnsupported, "<!DOCTYPE html><html>", "web page");
  refused(ErrorCode::kUnsupported, "\x89HDF\r\n\x1a\n", "HDF5");
  refused(ErrorCode::kUnsupported, std::string(257, 'a') + "ustar" + std::string(300, '\0'), "tar archive");
  refused(ErrorCode::kUnsupported, "\x80\x02K\x01.", "not one of PyTorch's");
  refused(ErrorCode::kDamaged, "", "empty");
  refused(ErrorCode::kDamaged, "hello", "neither");
  refused(ErrorCode::kDamaged, "{\"a\": 1}", "no weight_map");
  expect_error(ErrorCode::kNotFound, {"missing.pth"}, [&] { open_tensor_file(folder_ / "missing.pth"); });
}

// A file cut anywhere is refused.
TEST_F(HandmadeFile, CutAtAnyByteIsRefused) {
  for (const std::string name : {"strided", "deflated", "legacy"}) {
    const std::string whole = read_text(golden_path("files/" + name + ".pth"));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      SCOPED_TRACE(size);
      try {
        open_bytes(whole.substr(0, size));
        FAIL() << name;
      } catch (const Error& error) {
        ASSERT_THAT(error.what(), HasSubstr(path().string()));
      }
    }
  }
}

// Whatever a byte becomes, the file is refused or still makes sense; sanitizers watch.
TEST_F(HandmadeFile, AnyChangedByteIsHarmless) {
  for (const std::string name : {"strided", "deflated", "legacy"}) {
    const std::string whole = read_text(golden_path("files/" + name + ".pth"));
    unsigned sum = 0;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const char flip : {'\x01', '\x80', '\x7f'}) {
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ flip);
        try {
          for (const auto& [key, view] : open_bytes(changed).tensors) {
            for (const char byte : bytes_of(view)) sum += static_cast<unsigned char>(byte);
          }
        } catch (const Error& error) {
          ASSERT_THAT(error.what(), HasSubstr(path().string()));
        }
      }
    }
    EXPECT_NE(sum, 0u);
  }
}

TEST_F(HandmadeFile, AChangedProgramIsFoundByItsChecksum) {
  std::string bytes =
      zip_of({{"a/data.pkl", dict_of(tensor(storage(6), 0, {6}, {1}))}, {"a/data/0", std::string(24, 'x')}});
  bytes[bytes.find("FloatStorage")] = 'f';
  expect_error(ErrorCode::kDamaged, {path().string(), "'a/data.pkl'", "checksum"}, [&] { open_bytes(bytes); });
}

TEST_F(HandmadeFile, ZipBombsAreRefusedBeforeTheyGoOff) {
  // The deflated golden, with a directory that promises much more.
  std::string bytes = read_text(golden_path("files/deflated.pth"));
  const auto patch = [&](std::size_t at, std::uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * i));
  };
  const std::size_t directory = bytes.find("PK\x01\x02");
  const std::string whole = bytes;
  patch(directory + 24, 0x7fffffff);
  expect_error(ErrorCode::kDamaged, {path().string(), "data.pkl", "deflate cannot unpack to 2147483647"},
               [&] { open_bytes(bytes); });
  // Promises that are small enough to be believed are held against what comes out.
  bytes = whole;
  patch(directory + 24, 100'000);
  expect_error(ErrorCode::kDamaged, {path().string(), "data.pkl"}, [&] { open_bytes(bytes); });
  std::string large = zip_of({{"a/data.pkl", std::string(4000, 'x')}});
  const std::size_t entry = large.find("PK\x01\x02");
  large[entry + 10] = '\x08';                                    // deflated
  large.replace(entry + 24, 4, std::string("\0\x09\x3d\0", 4));  // to 4,000,000
  expect_error(
      ErrorCode::kUnsupported,
      {path().string(), "'a/data.pkl'", "unpacks to 4,000,000", "more than the limit of 100 (--max-zip-ratio)"},
      [&] { open_bytes(large); });
  bytes = whole;
  patch(directory + 24, 10);
  expect_error(ErrorCode::kDamaged, {path().string(), "data.pkl"}, [&] { open_bytes(bytes); });
}

TEST_F(HandmadeFile, ArchivesOfManyMembersAndWithLargeFieldsAreRead) {
  // More than 65,535 members are counted in a record of their own.
  Members members = {{"a/data.pkl", dict_of(tensor(storage(6), 0, {6}, {1}))}, {"a/data/0", std::string(24, '\x01')}};
  for (int i = 1; i < 66'000; ++i) members.emplace_back(fmt::format("a/data/{}", i), "");
  EXPECT_EQ(open_bytes(zip_of(members)).tensors.size(), 1u);

  // Sizes and offset of one member in 64 bits, as they are beyond 4 GB.
  const auto little = [](std::uint64_t value, int bytes) {
    std::string digits;
    for (int i = 0; i < bytes; ++i) digits += static_cast<char>(value >> (8 * i));
    return digits;
  };
  members.resize(1);
  std::string bytes = zip_of(members);
  const std::size_t directory = bytes.find("PK\x01\x02");
  const std::string name = "a/data/0";
  const std::string head = little(0x0800, 2) + little(0, 2) + little(0, 4) + little(0, 4);
  const std::string local = std::string("PK\x03\x04") + little(45, 2) + head + little(24, 4) + little(24, 4) +
                            little(name.size(), 2) + little(0, 2) + name + std::string(24, '\x01');
  const std::string large = little(1, 2) + little(24, 2) + little(24, 8) + little(24, 8) + little(directory, 8);
  const std::string entry = std::string("PK\x01\x02") + little(45, 2) + little(45, 2) + head + std::string(8, '\xff') +
                            little(name.size(), 2) + little(large.size(), 2) + std::string(10, '\0') +
                            std::string(4, '\xff') + name + large;
  const std::size_t end = bytes.find("PK\x05\x06");
  const std::string first = bytes.substr(directory, end - directory);
  bytes = bytes.substr(0, directory) + local + first + entry + "PK\x05\x06" + little(0, 4) + little(2, 2) +
          little(2, 2) + little(first.size() + entry.size(), 4) + little(directory + local.size(), 4) + little(0, 2);
  EXPECT_EQ(bytes_of(open_bytes(bytes).tensors.at("w")), std::string(24, '\x01'));
}

TEST_F(HandmadeFile, LegacyStoragesThatLieAreRefused) {
  const std::string keys = std::string("\x80\x02]") + text("0") + "a.";
  const auto numbers = [](int promised, int elements) {
    return std::string(1, static_cast<char>(promised)) + std::string(7, '\0') +
           std::string(4 * static_cast<std::size_t>(elements), '\x01');
  };
  const auto legacy = [](const std::string& pickle, const std::string& key_list, const std::string& storages) {
    const std::string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const std::string system = std::string("\x80\x02}") + text("little_endian") + "\x88s.";
    return magic + "\x80\x02M\xe9\x03." + system + pickle + key_list + storages;
  };
  const auto part = [](std::int64_t first, std::int64_t elements) {
    std::string id = storage(6);
    id.resize(id.size() - 2);  // before the end of its tuple
    return id + "(" + text("part") + number(first) + number(elements) + "ttQ";
  };
  const std::string right = dict_of(tensor(storage(6), 0, {6}, {1}));
  EXPECT_EQ(open_bytes(legacy(right, keys, numbers(6, 6))).tensors.at("w").count(), 6);
  EXPECT_EQ(open_bytes(legacy(dict_of(tensor(part(4, 2), 0, {2}, {1})), keys, numbers(6, 6))).tensors.size(), 1u);

  const auto refused = [&](const std::string& bytes, const std::string& what) {
    SCOPED_TRACE(what);
    expect_error(ErrorCode::kDamaged, {path().string(), what}, [&] { open_bytes(bytes); });
  };
  const std::string doubles = tensor(storage(3, "torch\nDoubleStorage\n"), 0, {3}, {1});
  const std::string both =
      std::string("\x80\x04}") + text("w") + tensor(storage(6), 0, {6}, {1}) + "s" + text("d") + doubles + "s.";
  refused(legacy(both, keys, numbers(6, 6)), "storage '0' is of two types");
  refused(legacy(right, std::string("\x80\x02]") + text("1") + "a.", numbers(6, 6)),
          "storage '1' belongs to no tensor");
  refused(legacy(right, keys, numbers(7, 6)), "promises 7 elements, and 24 bytes are left");
  refused(legacy(right, keys, numbers(6, 6).substr(0, 7)), "it ends before storage '0'");
  refused(legacy(right, keys, numbers(5, 5)), "its storage '0' has 20 bytes, and 6 elements");
  refused(legacy(right, "\x80\x02].", numbers(6, 6)), "the file has no storage '0'");
  refused(legacy(right, "\x80\x02N.", numbers(6, 6)), "no list of storages");
  refused(legacy(dict_of(tensor(part(4, 3), 0, {1}, {1})), keys, numbers(6, 6)),
          "3 elements from 4 on are a part of 6");
  refused(legacy(dict_of(tensor(part(7, 0), 0, {1}, {1})), keys, numbers(6, 6)),
          "0 elements from 7 on are a part of 6");
  refused(legacy(dict_of(tensor(part(4, 2), 1, {2}, {1})), keys, numbers(6, 6)),
          "ends behind its storage '0', which has 2");
}

TEST_F(HandmadeFile, LegacyFilesOfOtherMachinesAndProtocolsAreRefused) {
  const std::string whole = read_text(golden_path("files/legacy.pth"));
  EXPECT_EQ(open_bytes(whole).kind, TensorFileKind::kPytorchLegacy);
  expect_error(ErrorCode::kUnsupported, {path().string(), "big-endian"}, [&] {
    std::string changed = whole;
    changed[changed.find("little_endian") + 15] = '\x89';
    open_bytes(changed);
  });
  expect_error(ErrorCode::kDamaged, {path().string(), "protocol"}, [&] {
    std::string changed = whole;
    changed[changed.find("M\xe9\x03") + 1] = '\xea';
    open_bytes(changed);
  });
}

class Shards : public testing::Test {
 protected:
  void write_shard(const std::string& name, const std::vector<std::string>& keys) const {
    std::map<std::string, ConstTensorView> tensors;
    for (const std::string& key : keys) tensors[key] = tensor_.view();
    write_safetensors(folder_ / name, tensors, {{"format", "pt"}});
  }
  TensorFile open_index(const std::string& json) const {
    folder_.write("model.safetensors.index.json", json);
    return open_tensor_file(folder_ / "model.safetensors.index.json");
  }
  void expect_refused(ErrorCode code, const std::string& json, std::initializer_list<std::string> texts) const {
    SCOPED_TRACE(json.substr(0, 200));
    expect_error(code, {"model.safetensors.index.json"}, [&] { open_index(json); });
    expect_error(code, texts, [&] { open_index(json); });
  }

  Tensor tensor_ = Tensor::zeros({2, 3});
  TemporaryFolder folder_;
};

TEST_F(Shards, AreReadThroughTheirIndex) {
  write_shard("1.safetensors", {"a", "b"});
  write_shard("2.safetensors", {"c"});
  const TensorFile file = open_index(
      R"({"metadata": {"total_size": 72}, "weight_map": {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}})");
  EXPECT_EQ(file.kind, TensorFileKind::kSafetensorsIndex);
  EXPECT_EQ(name_of(file.kind), "safetensors in shards");
  EXPECT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.owners.size(), 2u);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  expect_same(file.tensors.at("c"), tensor_.view());
}

// pytorch_model.bin.index.json: shards of either kind, whatever they are called.
TEST_F(Shards, OfPytorchFilesAreReadAsWell) {
  write_pytorch(folder_ / "1.bin", std::vector<std::pair<std::string, ConstTensorView>>{{"a", tensor_.view()}});
  write_pytorch(folder_ / "2.bin", std::vector<std::pair<std::string, ConstTensorView>>{{"c", tensor_.view()}});
  write_shard("3.safetensors", {"d"});
  const TensorFile file = open_index(R"({"weight_map": {"a": "1.bin", "c": "2.bin", "d": "3.safetensors"}})");
  EXPECT_EQ(file.kind, TensorFileKind::kPytorchIndex);
  EXPECT_EQ(name_of(file.kind), "PyTorch in shards");
  EXPECT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.owners.size(), 3u);
  expect_same(file.tensors.at("c"), tensor_.view());
  expect_refused(ErrorCode::kMismatch, R"({"weight_map": {"a": "1.bin", "b": "2.bin"}})",
                 {"no 'b' in '2.bin'", "not name 'c' in '2.bin'"});
}

TEST_F(Shards, ThatHoldNoTensorsThemselvesAreRefused) {
  const std::string index = R"({"weight_map": {"a": "model.safetensors.index.json"}})";
  expect_error(ErrorCode::kDamaged, {"model.safetensors.index.json", "neither"}, [&] { open_index(index); });
  folder_.write("page.bin", "<html>");
  expect_error(ErrorCode::kUnsupported, {"page.bin", "web page"},
               [&] { open_index(R"({"weight_map": {"a": "page.bin"}})"); });
}

TEST_F(Shards, TensorsOfTypesThatAreNotReadAreListed) {
  const std::string header = R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})";
  const std::string length = {static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0};
  folder_.write("1.safetensors", length + header + "data");
  const TensorFile alone = open_tensor_file(folder_ / "1.safetensors");
  const TensorFile sharded = open_index(R"({"weight_map": {"a": "1.safetensors"}})");
  for (const TensorFile* file : {&alone, &sharded}) {
    EXPECT_THAT(file->tensors, IsEmpty());
    EXPECT_EQ(file->unread.at("a"), "of type F8_E4M3");
    EXPECT_THAT(file->notes, ElementsAre("passed over tensors that are of type F8_E4M3: 'a'"));
  }
}

TEST_F(Shards, MissingAndUnexpectedTensorsAreNamed) {
  write_shard("1.safetensors", {"a", "b"});
  write_shard("2.safetensors", {"c"});
  expect_refused(ErrorCode::kMismatch, R"({"weight_map": {"a": "1.safetensors", "c": "2.safetensors"}})",
                 {"it does not name 'b' in '1.safetensors'"});
  expect_refused(ErrorCode::kMismatch,
                 R"({"weight_map": {"a": "1.safetensors", "b": "1.safetensors", "x": "1.safetensors"}})",
                 {"they have no 'x' in '1.safetensors'"});
  expect_refused(ErrorCode::kMismatch,
                 R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}})",
                 {"no 'b' in '2.safetensors'", "not name 'b' in '1.safetensors'"});
  expect_error(ErrorCode::kNotFound, {"3.safetensors"},
               [&] { open_index(R"({"weight_map": {"a": "3.safetensors"}})"); });
}

TEST_F(Shards, NoneMayLieOutsideOfTheFolder) {
  for (const std::string outside : {"../1.safetensors", "/tmp/1.safetensors", "sub/1.safetensors", "..", ".", "",
                                    "..\\\\1.safetensors", "1.safetensors\\u0000"}) {
    expect_refused(ErrorCode::kDamaged, fmt::format(R"({{"weight_map": {{"a": "{}"}}}})", outside),
                   {"is not a file beside it"});
  }
}

TEST_F(Shards, DamagedIndicesAreRefused) {
  expect_refused(ErrorCode::kDamaged, R"({"weight_map": )", {"damaged at byte"});
  expect_refused(ErrorCode::kDamaged, R"({"weight_map": []})", {"no weight_map"});
  expect_refused(ErrorCode::kDamaged, R"({"metadata": {"total_size": 1e999}, "weight_map": {}})", {"out of range"});
  expect_refused(ErrorCode::kDamaged, R"({"weight_map": {"a": 1}})", {"shard of 'a' is no text"});
  expect_refused(ErrorCode::kDamaged, R"({"weight_map": {"a": "1", "a": "2"}})", {"stands twice"});
  expect_refused(ErrorCode::kUnsupported, "{\"weight_map\": " + std::string(100'000, '[') + "}", {"1,001 deep"});
}

class WritePytorch : public testing::Test {
 protected:
  std::filesystem::path path() const { return folder_ / "out.pth"; }
  TemporaryFolder folder_;
};

TEST_F(WritePytorch, WhatIsWrittenComesBackAligned) {
  std::map<std::string, Tensor> tensors;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI64, DType::kI32, DType::kI16,
                            DType::kI8, DType::kU8, DType::kBool}) {
    Tensor tensor = Tensor::zeros({3, 100}, dtype);
    for (std::size_t i = 0; i < tensor.bytes().size(); ++i) tensor.bytes()[i] = static_cast<std::byte>(i % 251);
    tensors.emplace(name_of(dtype), std::move(tensor));
  }
  tensors.emplace("é", Tensor::zeros({}));
  tensors.emplace("none", Tensor::zeros({70'000, 0}));
  std::vector<std::pair<std::string, ConstTensorView>> views;
  for (const auto& [name, tensor] : tensors) views.emplace_back(name, tensor.view());
  write_pytorch(path(), views);

  const TensorFile file = open_tensor_file(path());
  EXPECT_EQ(file.kind, TensorFileKind::kPytorchZip);
  EXPECT_EQ(file.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(file.tensors.contains(name));
    const ConstTensorView& view = file.tensors.find(name)->second;
    expect_same(view, tensor.view());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % 64, 0u);  // the mapping begins at a page
  }
  const std::string first = read_text(path());
  write_pytorch(path(), views);
  EXPECT_EQ(read_text(path()), first);
}

TEST_F(WritePytorch, WhatCannotBeWrittenLeavesNothing) {
  const Tensor tensor = Tensor::zeros({4, 4});
  const auto refused = [&](std::vector<std::pair<std::string, ConstTensorView>> tensors, const std::string& what) {
    expect_error(ErrorCode::kInvalidArgument, {"out.pth", what}, [&] { write_pytorch(path(), tensors); });
  };
  ConstTensorView gaps = tensor.view();
  gaps.shape = {4, 2};
  refused({{"a", gaps}}, "'a' is not contiguous");
  refused({{"a", tensor.view()}, {"a", tensor.view()}}, "'a' stands twice");
  refused({{"\xff", tensor.view()}}, "UTF-8");
  const Tensor counts = Tensor::zeros({1}, DType::kU32);
  refused({{"a", counts.view()}}, "U32");
  EXPECT_EQ(folder_.entries(), 0u);
}

// Sizes and offsets that 32 bits do not hold, without the gigabytes: only the ends of the archive are kept.
TEST_F(WritePytorch, ArchivesBeyond4GigabytesHaveLargeFields) {
  std::string directory;
  std::uint64_t written = 0;
  const std::string member(1 << 20, '\0');
  const ByteSink sink = [&](std::span<const std::byte> part) {
    written += part.size();
    if (part.size() < member.size()) directory.assign(reinterpret_cast<const char*>(part.data()), part.size());
  };
  ZipWriter zip(sink);
  for (int i = 0; i < 4100; ++i) zip.add(fmt::format("a/data/{}", i), member);
  zip.finish();
  EXPECT_GT(written, std::uint64_t{1} << 32);
  const std::size_t end = directory.rfind("PK\x06\x06");
  ASSERT_NE(end, std::string::npos);
  std::uint64_t members = 0;
  std::uint64_t begin = 0;
  std::memcpy(&members, directory.data() + end + 32, 8);
  std::memcpy(&begin, directory.data() + end + 48, 8);
  EXPECT_EQ(members, 4100u);
  EXPECT_EQ(begin, written - directory.size());
}

}  // namespace
}  // namespace convnext
