#include "io/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

std::string length_bytes(std::uint64_t length) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

class Safetensors : public testing::Test {
 protected:
  SafetensorsFile open_bytes(const std::string& bytes) const {
    folder_.write("model.safetensors", bytes);
    return SafetensorsFile::open(path());
  }
  SafetensorsFile open_header(const std::string& header, std::size_t data_bytes) const {
    return open_bytes(length_bytes(header.size()) + header + std::string(data_bytes, '\x01'));
  }
  void expect_damaged(const std::string& header, std::size_t data_bytes, const std::string& text) const {
    SCOPED_TRACE(header.substr(0, 200));
    expect_error(ErrorCode::kDamaged, {path().string(), text}, [&] { open_header(header, data_bytes); });
  }
  std::filesystem::path path() const { return folder_ / "model.safetensors"; }

  TemporaryFolder folder_;
};

TEST_F(Safetensors, WhatIsWrittenComesBack) {
  Tensor weight = Tensor::zeros({2, 3});
  for (std::size_t i = 0; i < 6; ++i) weight.values<float>()[i] = static_cast<float>(i) / 7;
  Tensor steps = Tensor::zeros({}, DType::kI64);
  steps.values<std::int64_t>()[0] = -5;
  Tensor mask = Tensor::zeros({3}, DType::kBool);
  mask.values<std::uint8_t>()[1] = 1;
  const Tensor none = Tensor::zeros({4, 0, 2}, DType::kBF16);
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"card", "{\"a\": \"\\u00fc\n\"}"}};
  write_safetensors(path(), {{"w", weight.view()}, {"steps", steps.view()}, {"mask", mask.view()}, {"é", none.view()}},
                    metadata);

  const SafetensorsFile file = SafetensorsFile::open(path());
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), 4u);
  const auto expect_same = [&](const std::string& name, const Tensor& tensor) {
    const ConstTensorView& view = file.tensors().at(name);
    EXPECT_EQ(view.dtype, tensor.dtype());
    EXPECT_EQ(view.shape, tensor.shape());
    EXPECT_TRUE(view.is_contiguous());
    EXPECT_TRUE(std::equal(tensor.bytes().begin(), tensor.bytes().end(), view.data)) << name;
  };
  expect_same("w", weight);
  expect_same("steps", steps);
  expect_same("mask", mask);
  expect_same("é", none);
}

// safetensors.numpy.save({"b": uint8 [1, 2, 3], "a": float32 [[1.5]]}, {"k": "v"}), safetensors 0.8.
TEST_F(Safetensors, BytesAreThoseOfTheReferenceImplementation) {
  Tensor a = Tensor::zeros({1, 1});
  a.values<float>()[0] = 1.5f;
  Tensor b = Tensor::zeros({3}, DType::kU8);
  for (std::size_t i = 0; i < 3; ++i) b.values<std::uint8_t>()[i] = static_cast<std::uint8_t>(i + 1);
  write_safetensors(path(), {{"a", a.view()}, {"b", b.view()}}, {{"k", "v"}});
  const std::string expected =
      length_bytes(136) +
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}})" +
      std::string(3, ' ') + std::string("\x00\x00\xc0\x3f\x01\x02\x03", 7);
  EXPECT_EQ(read_text(path()), expected);
}

TEST_F(Safetensors, EqualInputsGiveEqualBytesAndEveryTensorIsAligned) {
  const Tensor bytes = Tensor::zeros({3}, DType::kU8);
  const Tensor halves = Tensor::zeros({5}, DType::kF16);
  const Tensor doubles = Tensor::zeros({2}, DType::kF64);
  const std::map<std::string, ConstTensorView> tensors = {
      {"a", bytes.view()}, {"b", halves.view()}, {"c", doubles.view()}, {"d", bytes.view()}};
  write_safetensors(path(), tensors, {});
  const std::string first = read_text(path());
  write_safetensors(path(), tensors, {});
  EXPECT_EQ(read_text(path()), first);
  const SafetensorsFile file = SafetensorsFile::open(path());
  for (const auto& [name, view] : file.tensors()) {
    EXPECT_EQ(static_cast<std::size_t>(view.data - file.file().bytes().data()) % size_of(view.dtype), 0u) << name;
  }
}

TEST_F(Safetensors, AFileWithoutTensorsIsWhole) {
  EXPECT_TRUE(open_header("{}", 0).tensors().empty());
  EXPECT_EQ(open_header(R"({"__metadata__":{"a":"b"}}    )", 0).metadata().at("a"), "b");
}

TEST_F(Safetensors, CutAtAnyByteIsRefused) {
  Tensor weight = Tensor::zeros({2, 3});
  write_safetensors(path(), {{"weight", weight.view()}, {"bias", weight.view()}}, {{"format", "pt"}});
  const std::string whole = read_text(path());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorCode::kDamaged, {path().string()}, [&] { open_bytes(whole.substr(0, size)); });
  }
  expect_error(ErrorCode::kDamaged, {"1 bytes behind"}, [&] { open_bytes(whole + "x"); });
}

// Whatever one byte of the header becomes, the file is refused or still makes sense; sanitizers watch.
TEST_F(Safetensors, AnyChangedByteIsHarmless) {
  Tensor weight = Tensor::zeros({2, 3});
  write_safetensors(path(), {{"weight", weight.view()}, {"bias", weight.view()}}, {{"format", "pt"}});
  const std::string whole = read_text(path());
  for (std::size_t at = 0; at < whole.size() - 48; ++at) {
    for (const char value : {'\0', '"', '0', '9', '[', '{', '}', ',', '\xff'}) {
      std::string changed = whole;
      changed[at] = value;
      try {
        const SafetensorsFile file = open_bytes(changed);
        for (const auto& [name, view] : file.tensors()) {
          EXPECT_LE(view.count() * static_cast<std::int64_t>(size_of(view.dtype)), 48) << name;
        }
      } catch (const Error&) {
      }
    }
  }
}

TEST_F(Safetensors, HeaderLengthsThatLieAreRefusedBeforeAnythingIsRead) {
  const std::string header = "{}";
  for (const std::uint64_t length : {std::uint64_t{1} << 63, ~std::uint64_t{0}, std::uint64_t{100'000'001}}) {
    expect_error(ErrorCode::kDamaged, {std::to_string(length), "2 bytes behind the length"},
                 [&] { open_bytes(length_bytes(length) + header); });
  }
  expect_error(ErrorCode::kDamaged, {"header of 3 bytes", "2 bytes"}, [&] { open_bytes(length_bytes(3) + header); });
  expect_error(ErrorCode::kDamaged, {"'{'"}, [&] { open_bytes(length_bytes(0)); });
  expect_error(ErrorCode::kDamaged, {"'{'"}, [&] { open_bytes(length_bytes(3) + " {}"); });
  expect_error(ErrorCode::kDamaged, {"empty"}, [&] { open_bytes(""); });
  expect_error(ErrorCode::kDamaged, {"5 bytes"}, [&] { open_bytes("hello"); });
}

TEST_F(Safetensors, OtherJsonThanTheFormatsIsRefused) {
  expect_damaged("{", 0, "not valid JSON");
  expect_damaged("{} x", 0, "not valid JSON");
  expect_damaged("{\"a\xff\":1}", 0, "not valid JSON");
  expect_damaged(R"({"a":1})", 0, "'a' is 1, expected an object");
  expect_damaged(R"({"a":[]})", 0, "a list");
  expect_damaged(R"({"a":null})", 0, "null");
  expect_damaged(R"({"a":{}})", 0, "no dtype");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[]}})", 0, "no data_offsets");
  expect_damaged(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "no shape");
  expect_damaged(R"({"a":{"dtype":32,"shape":[],"data_offsets":[0,4]}})", 4, "dtype of tensor 'a' is 32");
  expect_damaged(R"({"a":{"dtype":["F32"],"shape":[],"data_offsets":[0,4]}})", 4, "a list");
  expect_damaged(R"({"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", 4, "a string");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "-1");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "1.5");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}})", 4, "a boolean");
  expect_damaged(R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4, "a string");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "a list");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})", 4, "two numbers");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}})", 4, "two numbers");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,1e1]}})", 4, "1e1");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,99999999999999999999]}})", 4,
                 "99999999999999999999");
  expect_damaged(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"stride":[1]}})", 4, "unknown field 'stride'");
}

TEST_F(Safetensors, MetadataIsTextByKey) {
  expect_damaged(R"({"__metadata__":{"a":1}})", 0, "'a' of __metadata__ is 1, expected a string");
  expect_damaged(R"({"__metadata__":{"a":{"b":"c"}}})", 0, "an object");
  expect_damaged(R"({"__metadata__":{"a":["b"]}})", 0, "a list");
  expect_damaged(R"({"__metadata__":{"a":null}})", 0, "null");
  expect_damaged(R"({"__metadata__":"a"})", 0, "a string");
}

TEST_F(Safetensors, NothingStandsTwice) {
  const std::string entry = R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  expect_damaged(fmt::format(R"({{"a":{0},"a":{0}}})", entry), 4, "tensor 'a' stands twice");
  expect_damaged(R"({"__metadata__":{},"__metadata__":{}})", 0, "stands twice");
  expect_damaged(R"({"__metadata__":{"k":"1","k":"2"}})", 0, "'k' stands twice");
  expect_damaged(R"({"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4, "dtype of tensor 'a'");
  expect_damaged(R"({"a":{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[0,4]}})", 4, "shape of tensor 'a'");
}

// A recursive reader would run out of stack, one that builds a tree out of memory.
TEST_F(Safetensors, NestingIsRefusedAtItsFirstLevel) {
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string deep = R"({"a":{"dtype":"U8","data_offsets":[0,0],"shape":)";
    for (int i = 0; i < 1'000'000; ++i) deep += open;
    expect_damaged(deep, 0, "of tensor 'a' is");
  }
}

TEST_F(Safetensors, AShapeOfVeryManyAxesIsRefused) {
  std::string shape = "1";
  for (int i = 0; i < 1000; ++i) shape += ",1";
  expect_damaged(fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}})", shape), 1,
                 "more than 64");
}

TEST_F(Safetensors, TensorsTileTheDataExactly) {
  const auto two = [](const std::string& first, const std::string& second) {
    return fmt::format(
        R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{}]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[{}]}}}})",
        first, second);
  };
  EXPECT_EQ(open_header(two("0,4", "4,8"), 8).tensors().size(), 2u);
  EXPECT_EQ(open_header(two("4,8", "0,4"), 8).tensors().size(), 2u);
  expect_damaged(two("0,4", "0,4"), 8, "inside of tensor 'a'");
  expect_damaged(two("0,4", "3,7"), 8, "inside of tensor 'a'");
  expect_damaged(two("0,4", "5,9"), 9, "from 4 to 5");
  expect_damaged(two("1,5", "5,9"), 9, "from 0 to 1");
  expect_damaged(two("0,4", "4,8"), 9, "1 bytes behind");
  expect_damaged(two("0,4", "4,8"), 7, "ends at 8");
  expect_damaged(two("0,4", "8,4"), 8, "before it begins");
  expect_damaged(two("0,4", "4,18446744073709551615"), 8, "18446744073709551615");
}

TEST_F(Safetensors, ATensorHasTheBytesOfItsShape) {
  const auto one = [](const std::string& dtype, const std::string& shape, int bytes) {
    return fmt::format(R"({{"a":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})", dtype, shape, bytes);
  };
  EXPECT_EQ(open_header(one("F32", "", 4), 4).tensors().at("a").count(), 1);
  EXPECT_EQ(open_header(one("F64", "3,0,9", 0), 0).tensors().at("a").count(), 0);
  expect_damaged(one("F32", "2", 4), 4, "(2) of F32 takes 8");
  expect_damaged(one("F16", "1", 4), 4, "takes 2");
  // 2^62 * 4, 2^32 * 2^32 and 2^63 all become small numbers when the overflow goes unseen.
  expect_damaged(one("F32", "4611686018427387904", 0), 0, "more than any file holds");
  expect_damaged(one("U8", "4294967296,4294967296", 0), 0, "more than any file holds");
  expect_damaged(one("U8", "9223372036854775808", 0), 0, "more than any file holds");
  expect_damaged(one("U8", "4294967296,4294967296,0", 0), 0, "more than any file holds");
}

TEST_F(Safetensors, TypesOfTheFormatThatAreNotReadAreToldFromNonsense) {
  const auto one = [](const std::string& dtype, int elements, int bytes) {
    return fmt::format(
        R"({{"a":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}},"b":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}}}})",
        dtype, elements, bytes, bytes, bytes + 1);
  };
  for (const auto& [dtype, elements, bytes] : {std::tuple("F8_E4M3", 3, 3),
                                               {"F8_E5M2", 3, 3},
                                               {"F8_E8M0", 3, 3},
                                               {"C64", 3, 24},
                                               {"F4", 4, 2},
                                               {"F4", 5, 3},
                                               {"F6_E2M3", 4, 3},
                                               {"F6_E3M2", 9, 7}}) {
    SCOPED_TRACE(dtype);
    const auto size = static_cast<std::size_t>(bytes);
    const SafetensorsFile file = open_header(one(dtype, elements, bytes), size + 1);
    EXPECT_EQ(file.unread(), (std::map<std::string, std::string>{{"a", dtype}}));
    EXPECT_EQ(file.tensors().size(), 1u);
    EXPECT_TRUE(file.tensors().contains("b"));
    // They tile the file as the others do.
    expect_damaged(one(dtype, elements, bytes + 1), size + 2, fmt::format("of {} takes {}", dtype, bytes));
    expect_damaged(one(dtype, elements, bytes), size, "'b' ends at");
  }
  const auto huge = [](const std::string& dtype) {
    return fmt::format(R"({{"a":{{"dtype":"{}","shape":[9223372036854775807],"data_offsets":[0,0]}}}})", dtype);
  };
  expect_damaged(huge("C64"), 0, "more than any file holds");
  expect_damaged(huge("F4"), 0, "takes 4611686018427387904");
  expect_damaged(one("float32", 4, 4), 5, "unknown dtype 'float32'");
  expect_damaged(one("f32", 4, 4), 5, "unknown dtype");
}

// A name goes into messages, and messages to terminals.
TEST_F(Safetensors, HostileNamesAreTamedInMessages) {
  try {
    open_header(R"({"\u001b[2J)" + std::string(5000, 'x') + R"(":1})", 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()).find('\x1b'), std::string_view::npos);
    EXPECT_LT(std::string_view(error.what()).size(), 1000u);
  }
}

TEST_F(Safetensors, WhatCannotBeWrittenLeavesNothing) {
  Tensor tensor = Tensor::zeros({4, 4});
  const auto write = [&](const std::string& name, const ConstTensorView& view) {
    write_safetensors(path(), {{name, view}}, {});
  };
  ConstTensorView gaps = tensor.view();
  gaps.shape = {4, 2};
  expect_error(ErrorCode::kInvalidArgument, {"'a'", "contiguous"}, [&] { write("a", gaps); });
  expect_error(ErrorCode::kInvalidArgument, {"__metadata__"}, [&] { write("__metadata__", tensor.view()); });
  expect_error(ErrorCode::kInvalidArgument, {"UTF-8"}, [&] { write("\xff", tensor.view()); });
  expect_error(ErrorCode::kNotFound, {"missing"}, [&] { write_safetensors(folder_ / "missing/a", {}, {}); });
  EXPECT_EQ(folder_.entries(), 0u);
}

}  // namespace
}  // namespace convnext
