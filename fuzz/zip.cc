// zip archives: every member is read, and has the bytes that the directory promises.
#include "fuzz/input.h"
#include "io/zip_archive.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const InputFile file(std::as_bytes(std::span(data, size)));
  read_or_refuse([&] {
    const MappedFile mapped = MappedFile::open(file.path());
    const ZipArchive archive(mapped);
    for (const ZipMember& member : archive.members()) {
      require(archive.find(member.name) == &member);
      read_or_refuse([&] {
        const ZipBytes read = archive.read(member);
        require(read.bytes.size() == member.size);
        archive.check(member, read.bytes);
      });
    }
  });
  return 0;
}
