// PNG through libpng.

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "convnext/error.h"
#include "io/file.h"
#include "io/picture.h"

namespace convnext {
namespace {

// libpng reports failure by a call that must not return. The jumps stay inside read_header() and read_rows(), whose
// frames hold nothing that has a destructor.
struct PngDecoder {
  explicit PngDecoder(std::span<const std::byte> bytes) : left(bytes) {}
  ~PngDecoder() { png_destroy_read_struct(&png, &info, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  std::span<const std::byte> left;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf on_error{};
  char message[128] = {};

  [[noreturn]] static void fail(png_structp png, png_const_charp what) {
    auto* const decoder = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::snprintf(decoder->message, sizeof(decoder->message), "%s", what);
    std::longjmp(decoder->on_error, 1);
  }

  static void read(png_structp png, png_bytep out, std::size_t count) {
    auto* const decoder = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > decoder->left.size()) fail(png, "it ends too early");
    std::memcpy(out, decoder->left.data(), count);
    decoder->left = decoder->left.subspan(count);
  }

  // Of chunks that libpng is told to leave alone. Pillow passes over those that it does not know, critical ones too,
  // and refuses a transparent colour that is cut off.
  static int pass_over(png_structp png, png_unknown_chunkp chunk) {
    const auto* const decoder = static_cast<PngDecoder*>(png_get_user_chunk_ptr(png));
    if (std::memcmp(chunk->name, "tRNS", 4) != 0) return 1;
    const int colour = png_get_color_type(png, decoder->info);
    const std::size_t needed = colour == PNG_COLOR_TYPE_GRAY ? 2 : colour == PNG_COLOR_TYPE_RGB ? 6 : 0;
    if (chunk->size < needed) fail(png, "its transparent colour (tRNS) is cut off");
    return 1;
  }

  bool read_header() {
    if (setjmp(on_error) != 0) return false;
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngDecoder::fail, [](png_structp, png_const_charp) {});
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      std::snprintf(message, sizeof(message), "libpng could not be started");
      return false;
    }
    png_set_read_fn(png, this, &PngDecoder::read);
    // Sizes are checked by check_picture_size(). Text, profiles and times are passed over unread: they change no pixel,
    // and compressed ones can grow.
    png_set_user_limits(png, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::max());
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, reinterpret_cast<png_const_bytep>("tRNS"), 1);
    png_set_read_user_chunk_fn(png, this, &PngDecoder::pass_over);
    png_read_info(png, info);
    // From the pixels on Pillow looks at no checksum, nor at what follows them.
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    return true;
  }

  // Asks for samples of at least a byte, without alpha; palettes and 16-bit grey stay what they are.
  bool set_up_transformations() {
    if (setjmp(on_error) != 0) return false;
    const int colour = png_get_color_type(png, info);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
      png_set_packing(png);
    } else if (!is_grey_16()) {
      if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
      png_set_strip_16(png);
      png_set_strip_alpha(png);
      if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(on_error) != 0) return false;
    png_read_image(png, rows);
    return true;
  }

  bool is_palette() const { return png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE; }
  bool is_grey_16() const {
    return png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
  }
};

}  // namespace

void check_png_start(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::size_t kKindAt = 12;  // behind the signature and the length of the chunk
  constexpr std::string_view kHeader = "IHDR";
  if (bytes.size() < kKindAt + kHeader.size()) return;
  if (std::memcmp(bytes.data() + kKindAt, kHeader.data(), kHeader.size()) == 0) return;
  throw Error(ErrorCode::kDamaged,
              fmt::format("'{}' is a damaged PNG: its first chunk is not its header (IHDR)", name));
}

Image decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  PngDecoder decoder(bytes);
  const auto throw_damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole PNG file: {}", name, what));
  };
  check_png_start(bytes, name);
  if (!decoder.read_header()) throw_damaged(decoder.message);
  check_picture_size(png_get_image_width(decoder.png, decoder.info), png_get_image_height(decoder.png, decoder.info),
                     name, options);
  const bool is_palette = decoder.is_palette();
  const bool grey_16 = decoder.is_grey_16();
  if (!decoder.set_up_transformations()) throw_damaged(decoder.message);

  Image image;
  image.width = static_cast<int>(png_get_image_width(decoder.png, decoder.info));
  image.height = static_cast<int>(png_get_image_height(decoder.png, decoder.info));
  const std::size_t pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  const std::size_t stride = png_get_rowbytes(decoder.png, decoder.info);
  const std::size_t pixel_bytes = is_palette ? 1 : grey_16 ? 2 : 3;
  if (stride != static_cast<std::size_t>(image.width) * pixel_bytes) throw_damaged("unexpected size of a row");

  image.pixels.resize(pixels * 3);
  std::vector<std::uint8_t> samples(pixel_bytes == 3 ? 0 : pixels * pixel_bytes);
  std::uint8_t* const first = pixel_bytes == 3 ? image.pixels.data() : samples.data();
  std::vector<png_bytep> rows(static_cast<std::size_t>(image.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = first + y * stride;
  if (!decoder.read_rows(rows.data())) throw_damaged(decoder.message);

  if (is_palette) {
    png_colorp colours = nullptr;
    int count = 0;
    png_get_PLTE(decoder.png, decoder.info, &colours, &count);
    std::array<png_color, 256> palette{};  // what the file does not name is black
    std::copy_n(colours, std::clamp(count, 0, static_cast<int>(palette.size())), palette.begin());
    for (std::size_t i = 0; i < pixels; ++i) {
      const png_color colour = palette[samples[i]];
      image.pixels[i * 3] = colour.red;
      image.pixels[i * 3 + 1] = colour.green;
      image.pixels[i * 3 + 2] = colour.blue;
    }
  } else if (grey_16) {
    // Pillow keeps 16 bits here and cuts off, not down, when it converts to RGB: 256 and above are white.
    for (std::size_t i = 0; i < pixels; ++i) {
      const std::uint8_t value = samples[i * 2] != 0 ? 255 : samples[i * 2 + 1];
      std::fill_n(&image.pixels[i * 3], 3, value);
    }
  }
  return image;
}

std::string encode_png(const Image& image) {
  const std::size_t row_bytes = static_cast<std::size_t>(std::max(image.width, 0)) * 3;
  if (image.width < 1 || image.height < 1 ||
      image.pixels.size() != row_bytes * static_cast<std::size_t>(image.height)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot make a PNG of a picture of {} x {} with {} bytes",
                                                         image.width, image.height, image.pixels.size()));
  }
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&header, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot make a PNG of a picture of {} x {}: {}", image.width,
                                                         image.height, header.message));
  }
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_file_atomically(path, encode_png(image));
}

}  // namespace convnext
