// JPEG through libjpeg-turbo with its defaults (accurate integer IDCT, fancy upsampling), which are Pillow's too.

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <vector>

#include "convnext/error.h"
#include "io/picture.h"

namespace convnext {
namespace {

// Each scan of a progressive file goes over the whole picture: a small file with very many takes minutes.
constexpr int kMaxScans = 500;

// libjpeg reports failure by a call that must not return. The jumps stay inside read_header() and read_rows(), whose
// frames hold nothing that has a destructor.
struct JpegDecoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf on_error{};
  char message[JMSG_LENGTH_MAX] = {};

  JpegDecoder() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = [](j_common_ptr common) {
      auto* const decoder = static_cast<JpegDecoder*>(common->client_data);
      common->err->format_message(common, decoder->message);
      std::longjmp(decoder->on_error, 1);
    };
    errors.emit_message = [](j_common_ptr common, int level) {
      if (level >= 0) return;  // trace
      // After a warning libjpeg goes on and makes up what is damaged, and Pillow takes the picture so. Of a file that
      // ends too early it takes none; and what a progressive file lacks, versions of libjpeg-turbo make up differently.
      const int code = common->err->msg_code;
      const bool lacks_scans =
          code == JWRN_HIT_MARKER && static_cast<JpegDecoder*>(common->client_data)->info.progressive_mode == TRUE;
      if (code == JWRN_JPEG_EOF || lacks_scans) common->err->error_exit(common);
    };
    progress.progress_monitor = [](j_common_ptr common) {
      auto* const decoder = static_cast<JpegDecoder*>(common->client_data);
      if (decoder->info.input_scan_number <= kMaxScans) return;
      std::snprintf(decoder->message, sizeof(decoder->message), "more than %d scans", kMaxScans);
      std::longjmp(decoder->on_error, 1);
    };
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info); }  // harmless before jpeg_create_decompress()
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool read_header(std::span<const std::byte> bytes) {
    if (setjmp(on_error) != 0) return false;
    jpeg_create_decompress(&info);
    info.progress = &progress;
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&info, TRUE);
    return true;
  }

  // `rows` has space for output_height rows of `stride` bytes.
  bool read_rows(std::uint8_t* rows, std::size_t stride) {
    if (setjmp(on_error) != 0) return false;
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
      JSAMPROW row = rows + info.output_scanline * stride;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return true;
  }
};

// a * b / 255, rounded, for a and b in [0, 255].
int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// Adobe's programs store ink inverted (255 is none) and everybody reads four components so. Black is taken away from
// what is left of each colour, as Pillow does it (libImaging/Convert.c).
void inverted_cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb) {
  const int light = cmyk[3];
  for (int channel = 0; channel < 3; ++channel) {
    rgb[channel] = static_cast<std::uint8_t>(std::clamp(light - multiply_255(255 - cmyk[channel], light), 0, 255));
  }
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  JpegDecoder decoder;
  const auto throw_damaged = [&] {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole JPEG file: {}", name, decoder.message));
  };
  if (!decoder.read_header(bytes)) throw_damaged();
  check_picture_size(decoder.info.image_width, decoder.info.image_height, name, options);

  Image image;
  image.width = static_cast<int>(decoder.info.image_width);
  image.height = static_cast<int>(decoder.info.image_height);
  const std::size_t pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  const auto width = static_cast<std::size_t>(image.width);
  switch (decoder.info.num_components) {
    case 1:
    case 3:
      decoder.info.out_color_space = JCS_RGB;
      image.pixels.resize(pixels * 3);
      if (!decoder.read_rows(image.pixels.data(), width * 3)) throw_damaged();
      return image;
    case 4: {
      decoder.info.out_color_space = JCS_CMYK;
      std::vector<std::uint8_t> cmyk(pixels * 4);
      if (!decoder.read_rows(cmyk.data(), width * 4)) throw_damaged();
      image.pixels.resize(pixels * 3);
      for (std::size_t i = 0; i < pixels; ++i) inverted_cmyk_to_rgb(&cmyk[i * 4], &image.pixels[i * 3]);
      return image;
    }
    default:
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("'{}': a JPEG of {} components; 1, 3 and 4 are read", name, decoder.info.num_components));
  }
}

}  // namespace convnext
