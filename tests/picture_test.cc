// Files that are not the pictures they claim to be. That good ones give Pillow's pixels is tested by image_golden_test.
#include "io/picture.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/bytes.h"
#include "io/file.h"
#include "io/jpeg_segments.h"
#include "io/orientation.h"
#include "io/picture_file.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

std::string sample(const std::string& name) {
  return read_text(std::string(CONVNEXT_SOURCE_DIR "/tests/goldens/pictures/decode/") + name);
}

Image decode(const std::string& bytes, const DecodeOptions& options = {}) {
  return Image::decode(std::as_bytes(std::span(bytes)), "picture", options);
}

void expect_refused(ErrorCode code, const std::string& bytes, const std::string& text) {
  SCOPED_TRACE(text);
  expect_error(code, {"'picture'", text}, [&] { decode(bytes); });
}

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::uint32_t crc32(const std::string& bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc % 2 == 0 ? 0 : 0xedb88320u);
  }
  return ~crc;
}

std::string png_chunk(const std::string& kind, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + kind + data + big_endian(crc32(kind + data));
}

// The sample's own bytes with another IHDR.
std::string png_of_size(std::uint32_t width, std::uint32_t height) {
  const std::string whole = sample("rgb.png");
  constexpr std::size_t kHeaderEnd = 8 + 12 + 13;
  return whole.substr(0, 8) + png_chunk("IHDR", big_endian(width) + big_endian(height) + whole.substr(24, 5)) +
         whole.substr(kHeaderEnd);
}

std::string jpeg_of_size(unsigned width, unsigned height) {
  std::string bytes = sample("baseline_444.jpg");
  const std::size_t frame = bytes.find("\xff\xc0");
  bytes[frame + 5] = static_cast<char>(height >> 8);
  bytes[frame + 6] = static_cast<char>(height);
  bytes[frame + 7] = static_cast<char>(width >> 8);
  bytes[frame + 8] = static_cast<char>(width);
  return bytes;
}

class Picture : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Picture,
                         testing::Values("baseline_420.jpg", "progressive.jpg", "restart.jpg", "grey.jpg", "cmyk.jpg",
                                         "rgb.png", "palette.png", "grey_16.png", "rgb_interlaced.png", "lossy.webp",
                                         "lossless.webp", "lossy_alpha.webp", "animated_part.webp", "arithmetic.jpg"),
                         [](const auto& info) {
                           std::string name = info.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST_P(Picture, CutAtAnyByteIsRefused) {
  const std::string whole = sample(GetParam());
  const Image image = decode(whole);
  // A PNG is whole with its pixels, as in Pillow: its last chunk only says that it ends.
  const std::size_t needed = whole.size() - (GetParam().ends_with(".png") ? png_chunk("IEND", "").size() : 0);
  for (std::size_t size = 0; size < needed; ++size) {
    SCOPED_TRACE(size);
    EXPECT_THROW(decode(whole.substr(0, size)), Error);
  }
  for (std::size_t size = needed; size < whole.size(); ++size) {
    EXPECT_EQ(decode(whole.substr(0, size)).pixels, image.pixels) << size;
  }
}

// Whatever bytes change, decoding ends with a picture of a sane size or an Error; sanitizers watch.
TEST_P(Picture, ChangedBytesAreHarmless) {
  const std::string whole = sample(GetParam());
  const DecodeOptions options = {.max_pixels = 1 << 16};
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      try {
        const Image image = decode(changed, options);
        EXPECT_EQ(image.pixels.size(),
                  static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
      } catch (const Error&) {
      }
    }
  }
}

TEST_P(Picture, BytesBehindItsEndAreIgnored) {
  const std::string whole = sample(GetParam());
  EXPECT_EQ(decode(whole + "something else").pixels, decode(whole).pixels);
}

TEST_P(Picture, TheLimitCountsPixels) {
  const std::string whole = sample(GetParam());
  const Image image = decode(whole);
  const std::int64_t pixels = std::int64_t{image.width} * image.height;
  EXPECT_NO_THROW(decode(whole, {.max_pixels = pixels}));
  expect_error(ErrorCode::kUnsupported, {"'picture'", std::to_string(pixels - 1)},
               [&] { decode(whole, {.max_pixels = pixels - 1}); });
}

TEST(PictureSize, HeadersThatPromiseTooMuchAreRefused) {
  for (const std::string& bytes : {png_of_size(60'000, 60'000), jpeg_of_size(60'000, 60'000)}) {
    expect_refused(ErrorCode::kUnsupported, bytes, "60000 x 60000");
  }
  expect_refused(ErrorCode::kUnsupported, png_of_size(0x7fffffff, 0x7fffffff), "2147483647");
  std::string webp = sample("lossless_alpha.webp");
  const std::size_t header = webp.find("VP8L") + 9;  // 14 bits of width - 1, 14 bits of height - 1
  webp.replace(header, 4, "\xff\xff\xff\x1f");
  expect_refused(ErrorCode::kUnsupported, webp, "16384 x 16384");
}

TEST(PictureSize, NoPixelsAreNoPicture) {
  expect_refused(ErrorCode::kDamaged, png_of_size(0, 10), "PNG");
  expect_refused(ErrorCode::kDamaged, png_of_size(10, 0), "PNG");
  expect_refused(ErrorCode::kDamaged, jpeg_of_size(0, 10), "JPEG");
  expect_refused(ErrorCode::kDamaged, jpeg_of_size(10, 0), "JPEG");
}

TEST(PictureSize, APngOfMoreRowsThanTheDataHasIsRefused) {
  expect_refused(ErrorCode::kDamaged, png_of_size(29, 23), "PNG");
}

TEST(PictureKind, OtherFilesSayWhatTheyLookLike) {
  using namespace std::string_literals;
  const std::array<std::pair<std::string, std::string>, 12> cases = {{{"", "is empty"},
                                                                      {"just some words\n", "looks like text"},
                                                                      {"<html>", "looks like text"},
                                                                      {"GIF89a\x01\x00"s, "looks like GIF"},
                                                                      {"BM\x00\x00"s, "looks like BMP"},
                                                                      {"II*\0\x08"s, "looks like TIFF"},
                                                                      {"MM\0*\0"s, "looks like TIFF"},
                                                                      {"\0\0\0\x1c"s + "ftypavif", "looks like AVIF"},
                                                                      {"PK\x03\x04"s, "looks like ZIP"},
                                                                      {std::string(100, '\0'), "begins with zeros"},
                                                                      {"\x01\x02\x03"s, "unknown kind"},
                                                                      {"RIFF\x04\0\0\0WAVE"s, "unknown kind"}}};
  for (const auto& [bytes, text] : cases) {
    expect_refused(ErrorCode::kUnsupported, bytes, text);
    expect_refused(ErrorCode::kUnsupported, bytes, "JPEG, PNG and WebP are read");
  }
}

TEST(PictureKind, TheNameDoesNotDecide) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "really_png.jpg", sample("rgb.png"));
  EXPECT_EQ(Image::open(folder / "really_png.jpg").width, 29);
  write_file_atomically(folder / "words.jpg", "these are words");
  expect_error(ErrorCode::kUnsupported, {"words.jpg", "looks like text"}, [&] { Image::open(folder / "words.jpg"); });
}

TEST(PictureKind, FilesThatCannotBeOpenedAreNamed) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {"missing.jpg"}, [&] { Image::open(folder / "missing.jpg"); });
  expect_error(ErrorCode::kInvalidArgument, {"folder"}, [&] { Image::open(folder.path()); });
  write_file_atomically(folder / "empty.png", "");
  expect_error(ErrorCode::kUnsupported, {"empty.png", "is empty"}, [&] { Image::open(folder / "empty.png"); });
}

// From the pixels on Pillow looks at no checksum (the goldens have one that is wrong): what does not unpack is damaged.
TEST(Png, DamagedPixelsAndAWrongChecksumBeforeThemAreRefused) {
  std::string bytes = sample("rgb.png");
  bytes[bytes.find("IDAT") + 40] ^= 1;
  expect_refused(ErrorCode::kDamaged, bytes, "PNG");
  std::string header = sample("rgb.png");
  header[8 + 8 + 13] ^= 1;
  expect_refused(ErrorCode::kDamaged, header, "CRC");
}

// Else the size that stands in its place would be another chunk's.
TEST(Png, AnotherChunkBeforeTheHeaderIsRefused) {
  const std::string whole = sample("rgb.png");
  for (const std::string kind : {"tEXt", "eXIf", "abCd"}) {
    const std::string changed = whole.substr(0, 8) + png_chunk(kind, std::string(20, '\1')) + whole.substr(8);
    expect_refused(ErrorCode::kDamaged, changed, "IHDR");
    expect_error(ErrorCode::kDamaged, {"picture", "IHDR"},
                 [&] { read_picture_header(std::as_bytes(std::span(changed)), "picture", {}); });
  }
}

TEST(Png, APaletteThatIsNotThereIsRefused) {
  const std::string whole = sample("palette_interlaced.png");
  const std::size_t at = whole.find("PLTE") - 4;
  const std::size_t length = 12 + 23 * 3;
  expect_refused(ErrorCode::kDamaged, whole.substr(0, at) + whole.substr(at + length), "PLTE");
}

// As Pillow does it; a palette may have as few as it likes.
TEST(Png, ATransparentColourThatIsCutOffIsRefused) {
  const auto with_colour = [](const char* name, const std::string& colour) {
    const std::string whole = sample(name);
    const std::size_t at = whole.find("IDAT") - 4;
    return whole.substr(0, at) + png_chunk("tRNS", colour) + whole.substr(at);
  };
  using namespace std::string_literals;
  expect_refused(ErrorCode::kDamaged, with_colour("rgb.png", ""), "tRNS");
  expect_refused(ErrorCode::kDamaged, with_colour("rgb.png", "\0\1\0\1\0"s), "tRNS");
  expect_refused(ErrorCode::kDamaged, with_colour("grey.png", "\0"s), "tRNS");
  EXPECT_EQ(decode(with_colour("rgb.png", "\0\1\0\1\0\1"s)).pixels, decode(sample("rgb.png")).pixels);
  EXPECT_EQ(decode(with_colour("grey.png", "\0\1"s)).pixels, decode(sample("grey.png")).pixels);
  EXPECT_EQ(decode(with_colour("palette.png", "")).pixels, decode(sample("palette.png")).pixels);
}

// Versions of libjpeg-turbo fill what is missing in different ways, so that there are no pixels to be equal to.
TEST(Jpeg, AProgressiveFileWithoutItsLastScansIsRefused) {
  const std::string whole = sample("progressive_444.jpg");
  expect_refused(ErrorCode::kDamaged, whole.substr(0, whole.size() * 2 / 3) + "\xff\xd9", "JPEG");
  for (const char* name : {"baseline_420.jpg", "restart.jpg", "progressive.jpg"}) {
    const std::string cut = sample(name);
    expect_refused(ErrorCode::kDamaged, cut.substr(0, cut.size() * 2 / 3), "JPEG");
  }
}

// Metadata changes no pixel, however damaged: a text that unpacks to gigabytes is not even looked at.
TEST(Png, DamagedMetadataIsPassedOver) {
  const std::string whole = sample("rgb.png");
  const std::size_t at = whole.find("IDAT") - 4;
  for (const std::string kind : {"zTXt", "iCCP", "tIME", "pHYs", "eXIf"}) {
    const std::string changed = whole.substr(0, at) + png_chunk(kind, "damaged") + whole.substr(at);
    EXPECT_EQ(decode(changed).pixels, decode(whole).pixels) << kind;
  }
}

// Each scan of a progressive file goes over the whole picture.
TEST(Jpeg, VeryManyScansAreRefused) {
  const std::string whole = sample("progressive_444.jpg");
  const std::size_t last = whole.rfind("\xff\xda");
  const std::string scan = whole.substr(last, whole.size() - 2 - last);
  std::string many = whole.substr(0, whole.size() - 2);
  for (int i = 0; i < 2000; ++i) many += scan;
  expect_refused(ErrorCode::kDamaged, many + "\xff\xd9", "");
}

TEST(Jpeg, TwoComponentsAreUnsupported) {
  std::string bytes = sample("grey.jpg");
  const std::size_t frame = bytes.find("\xff\xc0");
  bytes[frame + 3] = 14;
  bytes[frame + 9] = 2;
  bytes.insert(frame + 13, "\x02\x11\x00", 3);
  const std::size_t scan = bytes.find("\xff\xda");
  bytes[scan + 3] = 10;
  bytes[scan + 4] = 2;
  bytes.insert(scan + 7, "\x02\x00", 2);
  expect_refused(ErrorCode::kUnsupported, bytes, "2 components");
}

// "RIFF", its length, and the body of an animation on a canvas of 8 x 8.
std::string webp_animation(const std::string& frames) {
  const std::string extended = std::string("VP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0", 18);
  const std::string animation = std::string("ANIM\x06\0\0\0\0\0\0\0\0\0", 14);
  const std::string body = "WEBP" + extended + animation + frames;
  return "RIFF" + std::string{static_cast<char>(body.size()), static_cast<char>(body.size() >> 8), '\0', '\0'} + body;
}

// What markers look like that are easily misread: fill bytes, markers without a length, lengths that lie.
TEST(JpegSegments, AreThoseBeforeTheFirstScan) {
  using namespace std::string_literals;
  const auto markers = [](const std::string& behind_start) {
    const std::string file = "\xff\xd8" + behind_start;
    JpegSegments segments(bytes_of(file));
    std::vector<std::pair<int, std::string>> all;
    while (const auto segment = segments.next()) all.emplace_back(segment->marker, text_of(segment->data));
    return all;
  };
  using All = std::vector<std::pair<int, std::string>>;
  EXPECT_EQ(markers("\xff\xe0\0\x04"
                    "ab"
                    "\xff\xc0\0\x03"
                    "c"
                    "\xff\xda\0\x02"
                    "\xff\xe1\0\x02"s),
            (All{{0xe0, "ab"}, {0xc0, "c"}}));
  EXPECT_EQ(markers("\xff\xff\xff\xe0\0\x03"
                    "a"s),
            (All{{0xe0, "a"}}))
      << "any number of FFs";
  EXPECT_EQ(markers("junk\xff\0\xff\xe0\0\x03"
                    "a"s),
            (All{{0xe0, "a"}}))
      << "bytes that are no marker";
  EXPECT_EQ(markers("\xff\x01\xff\xd0\xff\xd8\xff\xe0\0\x03"
                    "a"s),
            (All{{0xe0, "a"}}))
      << "markers without a length";
  EXPECT_EQ(markers("\xff\xe0\0\0\xff\xe1\0\x02"s), (All{{0xe0, ""}, {0xe1, ""}})) << "a length below its own two";
  EXPECT_EQ(markers("\xff\xe0\0\x10"
                    "cut"s),
            (All{{0xe0, "cut"}}));
  EXPECT_EQ(markers("\xff\xd9\xff\xe0\0\x02"s), All{}) << "the end";
  EXPECT_EQ(markers("\xff\xe0\0"s), All{});
  for (const int marker : {0xc0, 0xc1, 0xc2, 0xc9, 0xcf}) {
    EXPECT_TRUE((JpegSegment{static_cast<std::uint8_t>(marker), {}}.is_frame())) << marker;
  }
  for (const int marker : {0xc4, 0xc8, 0xcc, 0xd0, 0xdb, 0xe1}) {
    EXPECT_FALSE((JpegSegment{static_cast<std::uint8_t>(marker), {}}.is_frame())) << marker;
  }
}

TEST(Bytes, ANumberThatIsNotThereIsNone) {
  const std::string text = "\x01\x02\x03\x04\x05\x06\x07\x08\xff";
  const std::span<const std::byte> bytes = bytes_of(text);
  EXPECT_EQ(little_endian(bytes, 0, 2), 0x0201u);
  EXPECT_EQ(convnext::big_endian(bytes, 0, 2), 0x0102u);
  EXPECT_EQ(little_endian(bytes, 1, 8), 0xff08070605040302u);
  EXPECT_EQ(convnext::big_endian(bytes, 0, 8), 0x0102030405060708u);
  EXPECT_EQ(little_endian(bytes, 8, 1), 0xffu);
  for (const std::uint64_t at : {std::uint64_t{2}, std::uint64_t{9}, std::uint64_t{10}, ~std::uint64_t{0}}) {
    EXPECT_EQ(little_endian(bytes, at, 8), 0u) << at;
  }
  std::string back;
  append_little_endian(back, 0x0807060504030201u, 8);
  append_little_endian(back, 0x1ff, 1);
  EXPECT_EQ(back, text);
}

TEST(Webp, AnAnimationWithoutAFrameIsRefused) {
  expect_refused(ErrorCode::kDamaged, webp_animation(""), "without a frame");
  expect_refused(ErrorCode::kDamaged, webp_animation(std::string("ANMF\x04\0\0\0abcd", 12)), "without a frame");
  expect_refused(ErrorCode::kDamaged, webp_animation(std::string("ANMF\xff\xff\0\0abcd", 12)), "without a frame");
}

// A frame that begins, or ends, outside the canvas would be written outside its memory.
TEST(Webp, AFrameOutsideItsCanvasIsRefused) {
  const std::string still = sample("one_pixel.webp");
  for (const char place : {'\x04', '\x7f'}) {  // counted in twos
    for (const std::size_t axis : {0u, 3u}) {
      std::string header(16, '\0');
      header[axis] = place;
      const std::string data = header + still.substr(12);
      const std::string length = {static_cast<char>(data.size()), '\0', '\0', '\0'};
      expect_refused(ErrorCode::kDamaged, webp_animation("ANMF" + length + data), "does not lie within");
    }
  }
  const std::string large = sample("lossless.webp").substr(12);  // 41 x 30
  const std::string data = std::string(16, '\0') + large;
  const std::string length = {static_cast<char>(data.size()), static_cast<char>(data.size() >> 8), '\0', '\0'};
  expect_refused(ErrorCode::kDamaged, webp_animation("ANMF" + length + data), "does not lie within");
}

// ---- which way up
// -----------------------------------------------------------------------------------------------------

std::string orientation_sample(const std::string& name) {
  return read_text(std::string(CONVNEXT_SOURCE_DIR "/tests/goldens/pictures/orientation/") + name);
}

TEST(Orientation, IsLeftAloneUnlessAskedFor) {
  const Image stored = decode(orientation_sample("1.jpg"));
  for (const char* name : {"3.jpg", "6.jpg", "8.jpg", "exif_before_xmp.jpg"}) {
    EXPECT_EQ(decode(orientation_sample(name)).pixels, stored.pixels) << name;
  }
}

// Notes are looked for before the pixels, in a file that may be anything. Half a note says nothing, and a change gives
// another one only where it is the value's own, or hides the first note of two.
TEST(Orientation, NotesThatAreCutOrLieAreHarmless) {
  struct Note {
    std::string file;
    std::set<int> after_changes;  // also 1, and the note itself
  };
  for (const auto& [name, after_changes] : std::vector<Note>{
           {"6.jpg", {7}}, {"6.png", {7}}, {"6.webp", {7}}, {"xmp.jpg", {3, 7}}, {"xmp.png", {}}, {"long.jpg", {7}}}) {
    SCOPED_TRACE(name);
    const std::string whole = orientation_sample(name);
    const auto read = [](const std::string& bytes) {
      return static_cast<int>(read_orientation(std::as_bytes(std::span(bytes))));
    };
    const int noted = read(whole);
    ASSERT_NE(noted, 1);
    bool found = false;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const int orientation = read(whole.substr(0, size));
      EXPECT_EQ(orientation, found || orientation == noted ? noted : 1) << size << " bytes";
      found = orientation == noted;
    }
    std::set<int> expected = after_changes;
    expected.insert({1, noted});
    std::set<int> seen;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      std::string changed = whole;
      for (const int flip : {0x01, 0x80, 0xff}) {
        changed[at] = static_cast<char>(whole[at] ^ flip);
        seen.insert(read(changed));
      }
    }
    EXPECT_EQ(seen, expected);
  }
}

}  // namespace
}  // namespace convnext
