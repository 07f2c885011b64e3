// Each limit of files: what just fits is read, and one less is refused with file, place, figure, limit and option.
#include "io/file_limits.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/progress.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "io/tensor_file.h"
#include "io/zip_archive.h"
#include "model/card.h"
#include "model/card_sources.h"
#include "model/registry.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

// `read` takes limits. It works with this one at `needed`, and names `place` and `found` with one below.
template <typename Read>
void expect_needs(FileLimit limit, std::int64_t needed, const std::string& place, const std::string& found,
                  const Read& read) {
  SCOPED_TRACE(place + ", " + std::string(named_limit(limit).option));
  FileLimits limits;
  limits.*limit = needed;
  EXPECT_NO_THROW(read(limits));
  limits.*limit = needed - 1;
  expect_error(ErrorCode::kUnsupported,
               {place, found,
                fmt::format(", more than the limit of {} ({})", format_count(needed - 1), named_limit(limit).option)},
               [&] { read(limits); });
}

class FileLimitsTest : public testing::Test {
 protected:
  void expect_file_needs(const fs::path& file, FileLimit limit, std::int64_t needed, const std::string& place,
                         const std::string& found) const {
    expect_needs(limit, needed, file.filename().string() + place, found,
                 [&](const FileLimits& limits) { open_tensor_file(file, {.limits = limits}); });
  }
  // Two tensors, "a" and "b".
  fs::path safetensors(const std::string& name = "two.safetensors") const {
    write_safetensors(folder_ / name, {{"a", tensor_.view()}, {"b", tensor_.view()}}, {});
    return folder_ / name;
  }
  fs::path pytorch() const {
    write_pytorch(folder_ / "two.pth",
                  std::vector<std::pair<std::string, ConstTensorView>>{{"a", tensor_.view()}, {"b", tensor_.view()}});
    return folder_ / "two.pth";
  }
  fs::path index(const std::string& more = {}) const {
    safetensors();
    folder_.write("model.safetensors.index.json",
                  R"({"weight_map": {"a": "two.safetensors", "b": "two.safetensors"})" + more + "}");
    return folder_ / "model.safetensors.index.json";
  }

  Tensor tensor_ = Tensor::zeros({2, 3});
  TemporaryFolder folder_;
};

TEST_F(FileLimitsTest, BytesOfASafetensorsHeader) {
  const fs::path file = safetensors();
  const auto header = static_cast<std::int64_t>(fs::file_size(file)) - 8 - 2 * 24;
  expect_file_needs(file, &FileLimits::max_header_bytes, header, "': ", fmt::format("the header is {} bytes", header));
}

TEST_F(FileLimitsTest, BytesOfAPickledProgram) {
  const fs::path file = pytorch();
  const ZipArchive archive(MappedFile::open(file));
  const auto bytes = static_cast<std::int64_t>(archive.find("archive/data.pkl")->size);
  expect_file_needs(file, &FileLimits::max_header_bytes, bytes,
                    "', 'archive/data.pkl': ", fmt::format("it is {} bytes", bytes));
  expect_error(ErrorCode::kUnsupported,
               {"legacy.pth' at byte ", "it is 1", "bytes so far, more than the limit of 100 (--max-header-bytes)"},
               [] { open_tensor_file(golden_path("files/legacy.pth"), {.limits = {.max_header_bytes = 100}}); });
}

TEST_F(FileLimitsTest, BytesOfAnIndex) {
  const fs::path file = index(R"(, "metadata": ")" + std::string(1000, 'x') + "\"");
  const auto bytes = static_cast<std::int64_t>(fs::file_size(file));
  expect_file_needs(file, &FileLimits::max_header_bytes, bytes,
                    "': ", fmt::format("the file is {} bytes", format_count(bytes)));
}

TEST_F(FileLimitsTest, NestingOfAnIndexAndOfACard) {
  expect_file_needs(index(R"(, "metadata": [[[{"]]]": "\"]"}]]])"), &FileLimits::max_nesting, 5,
                    "' at byte 80: ", "values are nested 5 deep");
  const std::string card = R"({"architecture": "convnext_atto", "training": [[{}]]})";
  expect_needs(&FileLimits::max_nesting, 4, "the card of 'a.safetensors' at byte 48", "values are nested 4 deep",
               [&](const FileLimits& limits) { card_from_json(card, "a.safetensors", limits); });
}

// The deepest that may be asked for is still printed without running out of stack.
TEST_F(FileLimitsTest, NestingAtItsMost) {
  const std::int64_t most = named_limit(&FileLimits::max_nesting).most;
  const auto lists = static_cast<std::size_t>(most) - 1;
  const std::string card =
      R"({"architecture": "convnext_atto", "training": )" + std::string(lists, '[') + std::string(lists, ']') + "}";
  EXPECT_EQ(card_from_json(card, "a.safetensors", {.max_nesting = most}).training.size(), 2 * lists);
  const std::string deeper = R"({"training": )" + std::string(5'000'000, '[');
  expect_error(ErrorCode::kUnsupported, {"nested 1,001 deep"}, [&] { card_from_json(deeper, "a.safetensors"); });
  EXPECT_FALSE(is_detector_card(deeper));
}

TEST_F(FileLimitsTest, ValuesOfAJsonFileBesideTheWeights) {
  folder_.write("config.json", R"({"architecture": "convnext_tiny", "tags": [1, 2, 3]})");
  const NetworkConfig network = architecture("convnext_tiny").network;
  const auto find = [&](const FileLimits& limits) { find_card(folder_ / "x.pth", network, {}, {}, limits); };
  expect_needs(&FileLimits::max_memo, 6, "config.json' at byte 47", "there are 6 values", find);
  expect_needs(&FileLimits::max_nesting, 2, "config.json' at byte 42", "values are nested 2 deep", find);
  expect_needs(&FileLimits::max_header_bytes, 52, "config.json': ", "the file is 52 bytes", find);
}

TEST_F(FileLimitsTest, ValuesAndMemoOfAPickledProgram) {
  std::int64_t needed = 1;
  const fs::path file = pytorch();
  const auto fits = [&] {
    try {
      open_tensor_file(file, {.limits = {.max_memo = needed}});
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  while (!fits()) ++needed;
  EXPECT_LT(needed, 100);
  expect_file_needs(file, &FileLimits::max_memo, needed, "', 'archive/data.pkl' at byte ",
                    fmt::format("it has made {} values and entries of its memo", needed));
}

TEST_F(FileLimitsTest, Tensors) {
  const std::string found = "with 'b' it holds 2 tensors";
  expect_file_needs(pytorch(), &FileLimits::max_tensors, 2, "', 'archive/data.pkl': ", found);
  expect_file_needs(safetensors(), &FileLimits::max_tensors, 2, "': ", found);
  expect_file_needs(index(), &FileLimits::max_tensors, 2, "': ", found);
}

// A header of many tensors ends where they become too many: what comes behind is not even looked at.
TEST_F(FileLimitsTest, TensorsAreCountedWhileTheHeaderIsRead) {
  std::string header = "{";
  for (int i = 0; i < 4; ++i) {
    header += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", i > 0 ? "," : "", i);
  }
  header += ",nonsense";
  folder_.write("many.safetensors", std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header);
  expect_error(ErrorCode::kUnsupported, {"many.safetensors': with '3' it holds 4 tensors"},
               [&] { open_tensor_file(folder_ / "many.safetensors", {.limits = {.max_tensors = 3}}); });
  expect_error(ErrorCode::kDamaged, {"not valid JSON"}, [&] { open_tensor_file(folder_ / "many.safetensors"); });
}

// The bytes of a zip archive in which all members are deflated.
std::string deflated_zip(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string bytes, directory;
  for (const auto& [name, text] : members) {
    std::string packed(compressBound(text.size()), '\0');
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY),
              Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.resize(stream.total_out);
    deflateEnd(&stream);

    std::string shared;  // of the local header and the directory
    append_little_endian(shared, 20, 2);
    append_little_endian(shared, 0, 2);
    append_little_endian(shared, Z_DEFLATED, 2);
    append_little_endian(shared, 0x0021'0000, 4);
    append_little_endian(shared, crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()), 4);
    append_little_endian(shared, packed.size(), 4);
    append_little_endian(shared, text.size(), 4);
    append_little_endian(shared, name.size(), 2);
    append_little_endian(shared, 0, 2);
    directory += "PK\x01\x02" + std::string(shared, 0, 2) + shared + std::string(10, '\0');
    append_little_endian(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\x03\x04" + shared + name + packed;
  }
  std::string end = "PK\x05\x06" + std::string(4, '\0');
  for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(end, members.size(), 2);
  append_little_endian(end, directory.size(), 4);
  append_little_endian(end, bytes.size(), 4);
  return bytes + directory + end + std::string(2, '\0');
}

TEST_F(FileLimitsTest, RatioOfAZipArchive) {
  const Tensor zeros = Tensor::zeros({2, 1'000'000});
  write_pytorch(folder_ / "stored.pth",
                std::vector<std::pair<std::string, ConstTensorView>>{{"a", zeros.view()}, {"b", tensor_.view()}});
  const ZipArchive stored(MappedFile::open(folder_ / "stored.pth"));
  std::vector<std::pair<std::string, std::string>> members;
  std::int64_t unpacked = 0;
  for (const ZipMember& member : stored.members()) {
    members.emplace_back(member.name, text_of(stored.read(member).bytes));
    unpacked += static_cast<std::int64_t>(member.size);
  }
  folder_.write("deflated.pth", deflated_zip(members));
  const fs::path file = folder_ / "deflated.pth";
  const auto bytes = static_cast<std::int64_t>(fs::file_size(file));
  const std::int64_t needed = (unpacked - (1 << 20) + bytes - 1) / bytes;
  EXPECT_GT(needed, FileLimits().max_zip_ratio);
  expect_file_needs(file, &FileLimits::max_zip_ratio, needed, "', 'archive/",
                    fmt::format("with it the archive of {} bytes unpacks to 8,00", format_count(bytes)));
  // PyTorch's own are stored, whatever they hold.
  EXPECT_EQ(open_tensor_file(folder_ / "stored.pth", {.limits = {.max_zip_ratio = 1}}).tensors.size(), 2u);
}

TEST_F(FileLimitsTest, ThatAreOutOfRangeAreRefused) {
  const fs::path file = safetensors();
  for (const NamedLimit& named : named_limits()) {
    for (const std::int64_t value : {std::int64_t{-1}, std::int64_t{0}, named.most + 1}) {
      FileLimits limits;
      limits.*named.limit = value;
      expect_error(ErrorCode::kInvalidArgument,
                   {fmt::format("{} is {}: expected 1 to {}", named.option, value, format_count(named.most))},
                   [&] { open_tensor_file(file, {.limits = limits}); });
    }
    FileLimits limits;
    limits.*named.limit = named.most;
    EXPECT_NO_THROW(open_tensor_file(file, {.limits = limits}));
  }
}

}  // namespace
}  // namespace convnext
