// safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes
// (huggingface/safetensors, README "Format" and safetensors/src/tensor.rs).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "convnext/file_limits.h"
#include "convnext/tensor.h"
#include "io/file.h"

namespace convnext {

// A file that was checked before any of its bytes was trusted: the header is JSON within the limits, nests no deeper
// than the format does, names no tensor twice, and the tensors tile the rest of the file without hole or overlap, each
// with exactly the bytes that its type and shape ask for.
class SafetensorsFile {
 public:
  // Throws Error: kDamaged with the place, kUnsupported beyond the limits, or those of MappedFile::open().
  static SafetensorsFile open(const std::filesystem::path& path, const FileLimits& limits = {});

  // Views of the mapped bytes; valid while this object or file().owner() lives. They need not be aligned.
  const std::map<std::string, ConstTensorView>& tensors() const { return tensors_; }
  // The others, of types that have no place here: by name, the type ("F8_E4M3", "C64").
  const std::map<std::string, std::string>& unread() const { return unread_; }
  // The header's __metadata__: text by key.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::map<std::string, ConstTensorView> tensors_;
  std::map<std::string, std::string> unread_;
  std::map<std::string, std::string> metadata_;
};

// Writes atomically. Tensors lie in the file by descending element size, then by name, so that each is aligned and two
// equal inputs give equal bytes. Views must be contiguous.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, ConstTensorView>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace convnext
