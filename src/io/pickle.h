// Python's pickle as data: what a program of pickle says is noted down, and never done
// (python/cpython, Lib/pickletools.py describes every opcode).
//
// A pickle is a program for a stack machine, and its REDUCE calls whatever it named before. Here a call stays a value
// that says what would be called with what. Only the opcodes of protocols 2 to 5 that picklers write for plain data are
// read, and only those names that the caller knows.
//
// Through the memo a value may hold itself, and values may nest deeper than any limit: whoever reads them must not
// recurse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"

namespace convnext {

enum class PickleType : std::uint8_t {
  kNone,
  kBool,
  kInteger,
  kLargeInteger,  // beyond 64 bits
  kFloat,         // which number is not kept
  kText,
  kBytes,
  kTuple,
  kList,
  kSet,
  kDict,
  kGlobal,      // a name of Python
  kCall,        // what a call of a name would have made
  kPersistent,  // an object that is stored outside of the pickle
  kOpaque,      // something that nobody looks into
};

struct PickleValue {
  PickleType type = PickleType::kNone;
  std::uint16_t depth = 0;   // of the values inside it, as far as they were whole when they were put there
  std::int64_t integer = 0;  // kBool, kInteger
  // kText in UTF-8 and kBytes as they are; kLargeInteger in little-endian two's complement; kGlobal and kCall:
  // "module.name".
  std::string_view text;
  // The elements; of a kDict key, value, key, value; of a kCall its arguments; of a kPersistent what names it.
  std::vector<const PickleValue*> items;

  // The value of a text key, the last of several; null where there is none, or this is no kDict.
  const PickleValue* find(std::string_view key) const;
};

// What may be done with a name.
enum class GlobalRole : std::uint8_t {
  kUnknown,   // the pickle is refused
  kConstant,  // it stands for itself
  kMapping,   // a call makes a kDict: OrderedDict
  kCall,      // a call makes a kCall
  kOpaque,    // a call makes a kOpaque, and everything set on that is passed over
};
using GlobalTable = GlobalRole (*)(std::string_view name);

// The values of a pickle; they point into each other and into the bytes that were read, so those must outlive it.
class Pickle {
 public:
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;
  Pickle(Pickle&&) = default;
  Pickle& operator=(Pickle&&) = default;

  const PickleValue& root() const { return *root_; }
  // Bytes from the first up to and with the STOP.
  std::size_t size() const { return size_; }
  // Every kPersistent, in the order in which they stand.
  const std::vector<const PickleValue*>& persistent() const { return persistent_; }

 private:
  friend class PickleReader;
  Pickle() = default;

  const PickleValue* root_ = nullptr;
  std::size_t size_ = 0;
  std::deque<PickleValue> values_;  // grows without moving
  std::set<std::string, std::less<>> names_;
  std::vector<const PickleValue*> persistent_;
};

// Reads the pickle that begins at bytes[position]. `source` names the bytes in messages: "'model.pth', data.pkl"; the
// places there are counted from bytes[0]. Module names of Python 2 are given as Python 3's. Throws Error: kDamaged;
// kUnsupported for an opcode or a name that is not read, or more than the limits allow: of bytes, of open marks and of
// values in values without the memo, and of values and entries of the memo.
Pickle read_pickle(std::span<const std::byte> bytes, std::size_t position, std::string_view source, GlobalTable table,
                   const FileLimits& limits = {});

}  // namespace convnext
