// Archives that others write, byte by byte, and what damage to them does.
#include "io/tar.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "expect_error.h"
#include "temporary_folder.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A header block and the padded content, with the fields that a test needs to be odd.
struct Entry {
  std::string name;
  std::string content;
  char type = '0';
  std::string magic = std::string(
      "ustar\0"
      "00",
      8);
  std::string prefix = {};
  std::string size = {};  // the field as it is, when it is not that of the content
};

std::string block_of(const Entry& entry) {
  std::string block(512, '\0');
  const auto put = [&block](std::size_t at, std::string_view text) { block.replace(at, text.size(), text); };
  put(0, entry.name);
  put(100, "0000644");
  put(124, entry.size.empty() ? fmt::format("{:011o}", entry.content.size()) : entry.size);
  put(136, "14000000000");
  put(148, "        ");
  block[156] = entry.type;
  put(257, entry.magic);
  put(345, entry.prefix);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  std::string content = entry.content;
  content.resize((content.size() + 511) / 512 * 512);
  return block + content;
}

std::string archive_of(const std::vector<Entry>& entries) {
  std::string bytes;
  for (const Entry& entry : entries) bytes += block_of(entry);
  return bytes + std::string(1024, '\0');
}

std::string pax_record(const std::string& key, const std::string& value) {
  // The length counts its own digits.
  for (std::size_t length = key.size() + value.size() + 4;; ++length) {
    const std::string record = fmt::format("{} {}={}\n", length, key, value);
    if (record.size() == length) return record;
  }
}

class Tar : public testing::Test {
 protected:
  // Each member as "name: content".
  std::vector<std::string> members(std::string_view bytes) {
    folder_.write("x.tar", bytes);
    TarReader reader(folder_ / "x.tar");
    std::vector<std::string> members;
    while (const auto member = reader.next()) {
      members.push_back(member->name + ": " + reader.read_text(*member, 1 << 20));
    }
    return members;
  }

  TemporaryFolder folder_;
};

TEST_F(Tar, ReadsUstarWithItsPrefix) {
  EXPECT_THAT(members(archive_of({{.name = "a.jpg", .content = std::string(512, 'x')},
                                  {.name = "b.cls", .content = "3", .prefix = "some/folder"},
                                  {.name = "empty", .content = ""}})),
              ElementsAre("a.jpg: " + std::string(512, 'x'), "some/folder/b.cls: 3", "empty: "));
  EXPECT_THAT(members(std::string(1024, '\0')), IsEmpty());
}

TEST_F(Tar, ReadsNamesAndSizesOfPax) {
  const std::string name = std::string(300, 'n') + "/ü.jpg";
  const std::string extended = pax_record("mtime", "1.5") + pax_record("path", name) + pax_record("size", "5");
  EXPECT_THAT(members(archive_of({{.name = "pax_global_header", .content = pax_record("comment", "x"), .type = 'g'},
                                  {.name = "PaxHeaders/x", .content = extended, .type = 'x'},
                                  {.name = "short", .content = "hello", .size = "00000000000"},
                                  {.name = "next", .content = "1"}})),
              ElementsAre(name + ": hello", "next: 1"));
}

TEST_F(Tar, ReadsNamesAndSizesOfGnu) {
  const std::string name(150, 'g');
  const std::string magic("ustar  \0", 8);
  const std::string base256 = std::string("\x80", 1) + std::string(10, '\0') + '\x05';
  EXPECT_THAT(members(archive_of({{.name = "././@LongLink", .content = name + '\0', .type = 'L', .magic = magic},
                                  {.name = name.substr(0, 100), .content = "hello", .magic = magic, .size = base256},
                                  // In a GNU header the prefix' place holds times.
                                  {.name = "next", .content = "1", .magic = magic, .prefix = "14712345670"}})),
              ElementsAre(name + ": hello", "next: 1"));
}

TEST_F(Tar, PassesOverWhatIsNoFile) {
  EXPECT_THAT(members(archive_of({{.name = "folder/", .content = "", .type = '5'},
                                  {.name = "link", .content = "", .type = '2'},
                                  {.name = "././@LongLink", .content = "long/folder", .type = 'L'},
                                  {.name = "long", .content = "", .type = '5'},
                                  {.name = "file", .content = "1", .type = '\0', .magic = std::string(8, '\0')}})),
              ElementsAre("file: 1"));
}

TEST_F(Tar, TellsWhereAMembersBytesLie) {
  folder_.write("x.tar", archive_of({{.name = "a", .content = "1234"}, {.name = "b", .content = "5"}}));
  TarReader reader(folder_ / "x.tar");
  EXPECT_EQ(reader.next()->offset, 512u);
  const auto second = reader.next();
  EXPECT_EQ(second->offset, 1536u);
  EXPECT_EQ(second->size, 1u);
}

// Each place but the ends of blocks of zeros: an archive that lost its end is not a smaller one.
TEST_F(Tar, CutAnywhereIsDamaged) {
  const std::string whole =
      archive_of({{.name = "a.jpg", .content = std::string(700, 'x')}, {.name = "a.cls", .content = "1"}});
  const std::size_t end = whole.size() - 1024;
  for (std::size_t size = 0; size < end + 512; size += size % 512 == 511 || size % 512 == 0 ? 1 : 85) {
    expect_error(ErrorCode::kDamaged, {"x.tar", "byte ", "cut off"}, [&] { members(whole.substr(0, size)); });
  }
  EXPECT_EQ(members(whole.substr(0, end + 512)).size(), 2u);
}

TEST_F(Tar, DamageIsNamedWithItsPlace) {
  std::string bytes = archive_of({{.name = "a", .content = "1"}, {.name = "b", .content = "2"}});
  bytes[1024 + 3] ^= 1;
  expect_error(ErrorCode::kDamaged, {"x.tar", "byte 1024", "sum"}, [&] { members(bytes); });
  expect_error(ErrorCode::kDamaged, {"byte 0", "sum"}, [&] { members(std::string(5000, 'x')); });
  // A hole of zeros looks like an end.
  bytes = archive_of({{.name = "a", .content = "1"}, {.name = "b", .content = "2"}});
  bytes.replace(1024, 512, std::string(512, '\0'));
  expect_error(ErrorCode::kDamaged, {"byte 1024", "hole"}, [&] { members(bytes); });
  const std::string one = archive_of({{.name = "a", .content = "1"}});
  expect_error(ErrorCode::kDamaged, {"byte 1024", "joined"}, [&] { members(one + one); });
}

TEST_F(Tar, HostileSizesAreRefused) {
  const auto with_size = [](std::string size) {
    return archive_of({{.name = "a", .content = "1", .size = std::move(size)}});
  };
  expect_error(ErrorCode::kDamaged, {"8589934591 bytes"}, [&] { members(with_size("77777777777")); });
  expect_error(ErrorCode::kDamaged, {"no number"}, [&] { members(with_size("00000000009")); });
  expect_error(ErrorCode::kDamaged, {"no number"}, [&] { members(with_size("-0000000001")); });
  expect_error(ErrorCode::kDamaged, {"no number"}, [&] { members(with_size(std::string(12, '\xff'))); });
  expect_error(ErrorCode::kDamaged, {"beyond its end"},
               [&] { members(with_size(std::string("\x80\0\0\0", 4) + std::string(8, '\xff'))); });
  const auto with_pax = [](const std::string& records) {
    return archive_of({{.name = "x", .content = records, .type = 'x'}, {.name = "a", .content = "1"}});
  };
  for (const char* records : {"0 path=a\n", "9999 path=a\n", "path=a\n", "10 pathaaa\n", "9 path=ab", "11 size=-1\n"}) {
    expect_error(ErrorCode::kDamaged, {"byte 0", "extended header"}, [&] { members(with_pax(records)); });
  }
  expect_error(ErrorCode::kDamaged, {"beyond its end"},
               [&] { members(with_pax(pax_record("size", "18446744073709551615"))); });
  expect_error(ErrorCode::kDamaged, {"more than the 65536"},
               [&] { members(archive_of({{.name = "L", .content = std::string(70'000, 'x'), .type = 'L'}})); });
  expect_error(ErrorCode::kUnsupported, {"sparse"},
               [&] { members(archive_of({{.name = "a", .content = "1", .type = 'S'}})); });
  expect_error(ErrorCode::kUnsupported, {"sparse"}, [&] { members(with_pax(pax_record("GNU.sparse.major", "1"))); });
}

// Whatever a byte of an archive is changed to, reading it ends: in members within the file, or in an Error.
TEST_F(Tar, AnyChangedByteIsReadOrRefused) {
  const std::string whole =
      archive_of({{.name = "x", .content = pax_record("path", "long") + pax_record("size", "3"), .type = 'x'},
                  {.name = "a", .content = "123"},
                  {.name = "L", .content = "name", .type = 'L'},
                  {.name = "b", .content = "4"}});
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\0', '9', '\xff'}) {
      std::string bytes = whole;
      bytes[at] = value;
      try {
        members(bytes);
      } catch (const Error& error) {
        ++refused;
        EXPECT_NE(error.code(), ErrorCode::kIo) << error.what();
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST_F(Tar, WritesWhatItReadsTheSameEachTime) {
  const auto write = [] {
    std::string bytes;
    const ByteSink sink = [&bytes](std::span<const std::byte> part) {
      bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    };
    TarWriter writer(sink);
    writer.add("a.jpg", std::string(600, 'j'));
    writer.add("a.cls", "7");
    writer.finish();
    return bytes;
  };
  EXPECT_EQ(write(), write());
  EXPECT_EQ(write().size(), TarWriter::member_bytes(600) + TarWriter::member_bytes(1) + 1024);
  EXPECT_THAT(members(write()), ElementsAre("a.jpg: " + std::string(600, 'j'), "a.cls: 7"));
  const ByteSink nowhere = [](std::span<const std::byte>) {};
  TarWriter writer(nowhere);
  expect_error(ErrorCode::kInvalidArgument, {"tar"}, [&] { writer.add(std::string(101, 'n'), "x"); });
}

}  // namespace
}  // namespace convnext
