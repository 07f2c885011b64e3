#include "io/npy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

class Npy : public testing::Test {
 protected:
  std::filesystem::path path() const { return folder_ / "array.npy"; }

  static std::string file(const std::string& header, const std::string& data, char major = '\x01') {
    std::string bytes = "\x93NUMPY";
    bytes += {major, '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
    if (major != '\x01') bytes += std::string(2, '\0');
    return bytes + header + data;
  }
  Tensor read(const std::string& bytes) const {
    folder_.write("array.npy", bytes);
    return read_npy(path());
  }
  void expect_refused(ErrorCode code, const std::string& bytes, const std::string& text) const {
    SCOPED_TRACE(text);
    expect_error(code, {path().string(), text}, [&] { read(bytes); });
  }

  TemporaryFolder folder_;
};

const std::string kHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
const std::string kData(24, '\x01');

TEST_F(Npy, WhatIsWrittenComesBackInEveryType) {
  for (const DType dtype : {DType::kBool, DType::kU8, DType::kI8, DType::kU16, DType::kI16, DType::kU32, DType::kI32,
                            DType::kU64, DType::kI64, DType::kF16, DType::kF32, DType::kF64}) {
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{2, 3}, Shape{4, 0}, Shape{1, 2, 1, 3}}) {
      Tensor tensor = Tensor::zeros(shape, dtype);
      for (std::size_t i = 0; i < tensor.bytes().size(); ++i) {
        tensor.bytes()[i] = static_cast<std::byte>(dtype == DType::kBool ? i % 2 : i * 37);
      }
      write_npy(path(), tensor.view());
      const Tensor back = read_npy(path());
      EXPECT_EQ(back.dtype(), dtype);
      EXPECT_EQ(back.shape(), shape);
      EXPECT_TRUE(std::equal(back.bytes().begin(), back.bytes().end(), tensor.bytes().begin(), tensor.bytes().end()));
    }
  }
}

// numpy.lib.format asks for data that begins at a multiple of 64 bytes behind a newline.
TEST_F(Npy, TheHeaderIsTheOneNumPyExpects) {
  const Tensor tensor = Tensor::zeros({2, 3});
  write_npy(path(), tensor.view());
  const std::string bytes = read_text(path());
  ASSERT_EQ((bytes.size() - 24) % 64, 0u);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(static_cast<std::size_t>(bytes[8]) + 10, bytes.size() - 24);
  EXPECT_EQ(bytes.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(bytes[bytes.size() - 25], '\n');
}

TEST_F(Npy, HeadersOfOtherWritersAreRead) {
  EXPECT_EQ(read(file(kHeader, kData)).shape(), (Shape{2, 3}));
  EXPECT_EQ(read(file(kHeader, kData, '\x02')).shape(), (Shape{2, 3}));
  EXPECT_EQ(read(file(kHeader, kData, '\x03')).shape(), (Shape{2, 3}));
  EXPECT_EQ(read(file("{\"shape\":(6,),\"fortran_order\":False,\"descr\":\"<f4\"}", kData)).shape(), Shape{6});
}

TEST_F(Npy, CutAtAnyByteIsRefused) {
  const std::string whole = file(kHeader, kData);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorCode::kDamaged, {path().string()}, [&] { read(whole.substr(0, size)); });
  }
}

TEST_F(Npy, OtherBytesAreNotAnArray) {
  expect_refused(ErrorCode::kDamaged, "", "empty");
  expect_refused(ErrorCode::kDamaged, "PK\x03\x04 an .npz file", "magic");
  expect_refused(ErrorCode::kUnsupported, file(kHeader, kData, '\x09'), "version 9");
  std::string lies = file(kHeader, kData);
  lies[9] = '\x7f';
  expect_refused(ErrorCode::kDamaged, lies, "header of");
}

TEST_F(Npy, ShapesThatLieAreRefusedBeforeAnythingIsAllocated) {
  const auto shaped = [](const std::string& shape) {
    return file(fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", shape), kData);
  };
  expect_refused(ErrorCode::kDamaged, shaped("(7,)"), "takes 28 bytes, and 24 follow");
  expect_refused(ErrorCode::kDamaged, shaped("(5,)"), "takes 20 bytes");
  expect_refused(ErrorCode::kDamaged, shaped("(1000000000000,)"), "takes 4000000000000 bytes");
  expect_refused(ErrorCode::kDamaged, shaped("(4611686018427387910,)"), "too many");
  expect_refused(ErrorCode::kDamaged, shaped("(4294967296, 4294967296)"), "too many");
  expect_refused(ErrorCode::kDamaged, shaped("(99999999999999999999,)"), "expected a size");
  expect_refused(ErrorCode::kDamaged, shaped("(-6,)"), "expected a size");
  expect_refused(ErrorCode::kDamaged, shaped("(2 3)"), "expected ')'");
  expect_refused(ErrorCode::kDamaged, shaped("[6]"), "expected '('");
  std::string many = "(6,";
  for (int i = 0; i < 1000; ++i) many += "1,";
  expect_refused(ErrorCode::kDamaged, shaped(many + ")"), "more than 64 axes");
}

TEST_F(Npy, DamagedHeadersAreRefused) {
  for (const std::string header :
       {"", "{", "{}", "nonsense", "{'descr': '<f4', 'fortran_order': False}", "{'descr': '<f4",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}", "{'descr': 4, 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} 1"}) {
    expect_refused(ErrorCode::kDamaged, file(header, kData), "damaged");
  }
}

TEST_F(Npy, ArraysOfAnotherKindSayHowToSaveThem) {
  const auto of = [](const std::string& descr, const std::string& order) {
    return file(fmt::format("{{'descr': {}, 'fortran_order': {}, 'shape': (6,), }}", descr, order), kData);
  };
  expect_refused(ErrorCode::kUnsupported, of("'<f4'", "True"), "ascontiguousarray");
  expect_refused(ErrorCode::kUnsupported, of("'>f4'", "False"), "'<f4'");
  expect_refused(ErrorCode::kUnsupported, of("[('a', '<f4')]", "False"), "fields");
  expect_refused(ErrorCode::kUnsupported, of("'|O'", "False"), "float32");
  expect_refused(ErrorCode::kUnsupported, of("'<c8'", "False"), "float32");
  expect_refused(ErrorCode::kUnsupported, of("'<U6'", "False"), "float32");
}

TEST_F(Npy, BooleansAreZeroOrOne) {
  const std::string header = "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ(read(file(header, std::string("\0\1", 2))).count(), 2);
  expect_refused(ErrorCode::kDamaged, file(header, std::string("\0\2", 2)), "boolean");
}

TEST_F(Npy, WhatNumPyHasNotIsNotWritten) {
  expect_error(ErrorCode::kUnsupported, {"BF16"}, [&] { write_npy(path(), Tensor::zeros({2}, DType::kBF16).view()); });
  Tensor tensor = Tensor::zeros({4, 4});
  ConstTensorView gaps = tensor.view();
  gaps.shape = {4, 2};
  expect_error(ErrorCode::kInvalidArgument, {"contiguous"}, [&] { write_npy(path(), gaps); });
  EXPECT_EQ(folder_.entries(), 0u);
}

}  // namespace
}  // namespace convnext
