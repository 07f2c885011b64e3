#include "model/imagenet_labels.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <stdexcept>

#include "model/embedded.h"

namespace convnext {
namespace {

constexpr int kFirstBit = 1;  // ImageNet-1K's, then 12K's and 22K's

struct Lists {
  std::array<ImagenetList, 3> all = {ImagenetList{"ImageNet-1K", {}, {}}, ImagenetList{"ImageNet-12K", {}, {}},
                                     ImagenetList{"ImageNet-22K", {}, {}}};
  std::map<std::string, std::string, std::less<>> names;  // by synset
};

std::string inflated(std::span<const unsigned char> bytes) {
  // The last four bytes of a gzip are the length of what it holds, little-endian.
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size |= static_cast<std::size_t>(bytes[bytes.size() - 4 + i]) << (8 * i);
  std::string text(size, '\0');
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream{};
  // zlib's interface is older than const.
  stream.next_in = const_cast<unsigned char*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<unsigned char*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  if (inflateInit2(&stream, kGzip) != Z_OK) throw std::bad_alloc();
  const int result = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::logic_error("the built-in labels are damaged");
  return text;
}

// A line "n01440764 7 tench": the synset, which lists it is in, its name.
Lists read_lists() {
  Lists lists;
  const std::string text = inflated(embedded_imagenet_labels());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const std::size_t gap = line.find(' ');
    const std::string synset(line.substr(0, gap));
    const int bits = line[gap + 1] - '0';
    const std::string name(line.substr(gap + 3));
    for (std::size_t i = 0; i < lists.all.size(); ++i) {
      if ((bits & (kFirstBit << i)) == 0) continue;
      lists.all[i].synsets.push_back(synset);
      lists.all[i].labels.push_back(name);
    }
    lists.names.emplace(synset, name);
    begin = end + 1;
  }
  return lists;
}

const Lists& lists() {
  static const Lists all = read_lists();
  return all;
}

// "tench" of "tench, Tinca tinca", "crane" of "crane (bird)".
std::string_view first_name(std::string_view label) {
  label = label.substr(0, label.find(','));
  return label.substr(0, label.find(" ("));
}

bool is_same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(first_name(a), first_name(b), [](char x, char y) {
    const auto plain = [](char c) {
      return c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    return plain(x) == plain(y);
  });
}

}  // namespace

const ImagenetList* imagenet_list(int classes) {
  // The counts are told before anything is unpacked: most models have neither.
  if (classes != 1000 && classes != 11821 && classes != 21841) return nullptr;
  const auto found = std::ranges::find_if(lists().all, [classes](const ImagenetList& list) {
    return list.labels.size() == static_cast<std::size_t>(classes);
  });
  return found == lists().all.end() ? nullptr : &*found;
}

const ImagenetList* recognized_imagenet_list(const std::vector<std::string>& labels) {
  const ImagenetList* list = imagenet_list(static_cast<int>(std::min<std::size_t>(labels.size(), 1'000'000)));
  if (!list) return nullptr;
  std::size_t agreeing = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].starts_with(list->synsets[i]) || is_same_name(labels[i], list->labels[i])) ++agreeing;
  }
  return 10 * agreeing >= 9 * labels.size() ? list : nullptr;
}

std::string_view imagenet_name(std::string_view synset) {
  const auto found = lists().names.find(synset);
  return found == lists().names.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace convnext
