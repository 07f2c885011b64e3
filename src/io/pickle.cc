#include "io/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/bytes.h"
#include "io/file_limits.h"
#include "io/quoted.h"

namespace convnext {
namespace {

// The opcodes that are read, by their names in Python's pickle module.
enum Opcode : std::uint8_t {
  kMark = '(',
  kEmptyTuple = ')',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

constexpr unsigned kLatestProtocol = 5;
constexpr std::size_t kMaxName = 1000;  // bytes, of a module and of a name in it

std::string_view name_of(PickleType type) {
  switch (type) {
    case PickleType::kNone:
      return "None";
    case PickleType::kBool:
      return "a boolean";
    case PickleType::kInteger:
    case PickleType::kLargeInteger:
      return "an integer";
    case PickleType::kFloat:
      return "a number";
    case PickleType::kText:
      return "a string";
    case PickleType::kBytes:
      return "bytes";
    case PickleType::kTuple:
      return "a tuple";
    case PickleType::kList:
      return "a list";
    case PickleType::kSet:
      return "a set";
    case PickleType::kDict:
      return "a dict";
    case PickleType::kGlobal:
      return "a name";
    case PickleType::kCall:
      return "the result of a call";
    case PickleType::kPersistent:
      return "a stored object";
    case PickleType::kOpaque:
      return "an object";
  }
  return "a value";
}

// Modules that Python 3 has under another name (Lib/_compat_pickle.py).
std::string_view current_module(std::string_view module) {
  if (module == "__builtin__") return "builtins";
  if (module == "copy_reg") return "copyreg";
  return module;
}

}  // namespace

const PickleValue* PickleValue::find(std::string_view key) const {
  if (type != PickleType::kDict) return nullptr;
  const PickleValue* found = nullptr;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    const bool named = items[i]->type == PickleType::kText || items[i]->type == PickleType::kBytes;
    if (named && items[i]->text == key) found = items[i + 1];
  }
  return found;
}

// The stack machine. Every step is paid for by bytes of the pickle or by the limits, so that neither its time nor its
// memory grows faster than the file.
class PickleReader {
 public:
  PickleReader(std::span<const std::byte> bytes, std::size_t position, std::string_view source, GlobalTable table,
               const FileLimits& limits)
      : text_(text_of(bytes)), begin_(position), at_(position), source_(source), table_(table), limits_(limits) {}

  Pickle read() {
    if (at_ > text_.size()) damaged("it begins behind the end");
    for (bool stopped = false; !stopped;) {
      stopped = step();
      if (std::cmp_greater(at_ - begin_, limits_.max_header_bytes)) {
        beyond(&FileLimits::max_header_bytes, "it is {} bytes so far", at_ - begin_);
      }
      if (std::cmp_greater(stack_.size(), limits_.max_memo)) {
        beyond(&FileLimits::max_memo, "its stack holds {} values", stack_.size());
      }
    }
    if (stack_.size() != 1 || !marks_.empty()) damaged(fmt::format("it stops with {} values", stack_.size()));
    result_.root_ = stack_.back();
    result_.size_ = at_ - begin_;
    return std::move(result_);
  }

 private:
  [[noreturn]] void damaged(std::string_view what) const {
    throw Error(ErrorCode::kDamaged, fmt::format("{} is damaged at byte {}: {}", source_, opcode_at_, what));
  }
  // `found` says it with a {} for the figure.
  [[noreturn]] void beyond(FileLimit limit, fmt::format_string<std::string> found, std::size_t figure) const {
    throw_beyond_limit(fmt::format("{} at byte {}", source_, opcode_at_),
                       fmt::format(found, format_count(static_cast<std::int64_t>(figure))), limits_, limit);
  }

  [[noreturn]] void throw_long_name() const { damaged(fmt::format("a name of more than {} bytes", kMaxName)); }

  std::string_view take(std::uint64_t count) {
    if (count > text_.size() - at_) {
      damaged(fmt::format("{} bytes are needed and {} left; was the download cut short?", count, text_.size() - at_));
    }
    const std::string_view taken = text_.substr(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }
  std::uint64_t take_unsigned(std::size_t bytes) { return little_endian(bytes_of(take(bytes)), 0, bytes); }
  std::string_view take_line() {
    const std::string_view rest = text_.substr(at_, kMaxName + 1);
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (line.size() > kMaxName) throw_long_name();
    if (line.size() == rest.size()) damaged("a name has no end; was the download cut short?");
    at_ += line.size() + 1;
    return line;
  }

  // Work that no byte of the pickle pays for.
  void charge(std::size_t objects) {
    charged_ += objects;
    if (std::cmp_greater(charged_, limits_.max_memo)) {
      beyond(&FileLimits::max_memo, "it has made {} values and entries of its memo", charged_);
    }
  }

  PickleValue& make(PickleType type) {
    charge(1);
    PickleValue& value = result_.values_.emplace_back();
    value.type = type;
    return value;
  }
  PickleValue& push(PickleType type) {
    PickleValue& value = make(type);
    stack_.push_back(&value);
    return value;
  }
  void push_text(PickleType type, std::uint64_t bytes) { push(type).text = take(bytes); }
  void push_integer(std::int64_t number) { push(PickleType::kInteger).integer = number; }

  // Values below the last mark belong to whoever set it.
  void need(std::size_t count) const {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < count) damaged("the stack has too few values");
  }
  PickleValue* pop() {
    need(1);
    PickleValue* const value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top() const {
    need(1);
    return *stack_.back();
  }
  std::span<PickleValue* const> above_mark() const {
    if (marks_.empty()) damaged("there is no mark");
    return std::span(stack_).subspan(marks_.back());
  }
  void drop_to_mark() {
    stack_.resize(marks_.back());
    marks_.pop_back();
  }

  void add(PickleValue& owner, std::span<PickleValue* const> items) {
    for (const PickleValue* item : items) add(owner, *item);
  }
  void add(PickleValue& owner, const PickleValue& item) {
    const std::size_t depth = item.depth + std::size_t{1};
    if (std::cmp_greater(depth, limits_.max_nesting)) {
      beyond(&FileLimits::max_nesting, "values are nested {} deep", depth);
    }
    owner.depth = std::max(owner.depth, static_cast<std::uint16_t>(depth));
    owner.items.push_back(&item);
  }

  void push_tuple(std::size_t count) {
    need(count);
    PickleValue& tuple = make(PickleType::kTuple);
    add(tuple, std::span(stack_).last(count));
    stack_.resize(stack_.size() - count);
    stack_.push_back(&tuple);
  }

  // A container of the values above the mark, in their place.
  void push_from_mark(PickleType type) {
    PickleValue& container = make(type);
    add(container, above_mark());
    drop_to_mark();
    stack_.push_back(&container);
  }

  // The values above the mark, in a container that stands below it.
  void add_above_mark(PickleType type, std::string_view what) {
    const std::span<PickleValue* const> items = above_mark();
    if (marks_.back() == 0 || (marks_.size() > 1 && marks_.back() == marks_[marks_.size() - 2])) {
      damaged("the stack has too few values");
    }
    add_items(*stack_[marks_.back() - 1], items, type, what);
    drop_to_mark();
  }

  void add_items(PickleValue& container, std::span<PickleValue* const> items, PickleType type, std::string_view what) {
    if (type == PickleType::kDict && items.size() % 2 != 0) damaged("a key has no value");
    if (container.type == PickleType::kOpaque) return;
    if (container.type != type) damaged(fmt::format("{} to {}", what, name_of(container.type)));
    add(container, items);
  }

  void push_global(std::string_view module, std::string_view name) {
    if (std::max(module.size(), name.size()) > kMaxName) throw_long_name();
    std::string full = fmt::format("{}.{}", current_module(module), name);
    if (table_(full) == GlobalRole::kUnknown) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} names the Python object {} at byte {}, which a file of weights does not need: it is "
                              "refused. If the file comes from somebody you trust, load it in Python and save its "
                              "state_dict() alone",
                              source_, in_quotes(full), opcode_at_));
    }
    push(PickleType::kGlobal).text = *result_.names_.insert(std::move(full)).first;
  }

  void call() {
    const PickleValue& arguments = *pop();
    const PickleValue& callee = *pop();
    if (arguments.type != PickleType::kTuple) damaged(fmt::format("the arguments are {}", name_of(arguments.type)));
    const GlobalRole role =
        callee.type == PickleType::kGlobal ? table_(callee.text)
        // What an opaque object gives when it is called is opaque too: mmengine's getattr(HistoryBuffer, "mean").
        : callee.type == PickleType::kOpaque ? GlobalRole::kOpaque
                                             : GlobalRole::kUnknown;
    switch (role) {
      case GlobalRole::kMapping:
        call_mapping(push(PickleType::kDict), arguments);
        return;
      case GlobalRole::kCall: {
        PickleValue& made = push(PickleType::kCall);
        made.text = callee.text;
        charge(arguments.items.size());
        for (const PickleValue* argument : arguments.items) add(made, *argument);
        return;
      }
      case GlobalRole::kOpaque:
        push(PickleType::kOpaque);
        return;
      case GlobalRole::kConstant:
      case GlobalRole::kUnknown:
        break;
    }
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{} calls {} at byte {}, which a file of weights does not need: it is refused", source_,
                    callee.type == PickleType::kGlobal ? in_quotes(callee.text) : std::string(name_of(callee.type)),
                    opcode_at_));
  }

  // Python 2 passes an OrderedDict its items as a list of pairs, and Counter takes a dict.
  void call_mapping(PickleValue& dict, const PickleValue& arguments) {
    if (arguments.items.size() != 1) return;
    const PickleValue& given = *arguments.items.front();
    if (given.type == PickleType::kDict) {
      charge(given.items.size());
      for (const PickleValue* item : given.items) add(dict, *item);
    } else if (given.type == PickleType::kList) {
      charge(2 * given.items.size());
      for (const PickleValue* pair : given.items) {
        if ((pair->type != PickleType::kList && pair->type != PickleType::kTuple) || pair->items.size() != 2) {
          damaged("an item of a dict is no pair");
        }
        for (const PickleValue* item : pair->items) add(dict, *item);
      }
    }
  }

  // A state is for the methods of an object, which nothing here has.
  void build() {
    pop();
    switch (const PickleValue& object = top(); object.type) {
      case PickleType::kDict:
      case PickleType::kCall:
      case PickleType::kOpaque:
        return;
      default:
        damaged(fmt::format("a state for {}", name_of(object.type)));
    }
  }

  void put(std::uint64_t index) {
    charge(1);
    memo_[index] = &top();
  }
  void get(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) damaged(fmt::format("nothing was kept under {}", index));
    stack_.push_back(found->second);
  }

  void push_long(std::uint64_t bytes) {
    const std::string_view digits = take(bytes);
    if (bytes > sizeof(std::int64_t)) {
      push(PickleType::kLargeInteger).text = digits;
      return;
    }
    std::uint64_t value = little_endian(bytes_of(digits), 0, digits.size());
    // Two's complement: the highest bit of the last byte fills what is above it.
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    if (negative && bytes < sizeof value) value |= ~std::uint64_t{0} << (8 * bytes);
    push_integer(static_cast<std::int64_t>(value));
  }

  void start_mark() {
    marks_.push_back(stack_.size());
    if (std::cmp_greater(marks_.size(), limits_.max_nesting)) {
      beyond(&FileLimits::max_nesting, "marks are nested {} deep", marks_.size());
    }
  }

  // True at the STOP.
  bool step() {
    opcode_at_ = at_;
    const auto opcode = static_cast<unsigned char>(take(1).front());
    if (opcode == kStop) return true;
    if (control(opcode) || push_constant(opcode) || change_container(opcode) || use_memo(opcode) || use_name(opcode)) {
      return false;
    }
    throw Error(ErrorCode::kUnsupported, fmt::format("{} has the opcode 0x{:02x} at byte {}, which no file of weights "
                                                     "needs: it is refused",
                                                     source_, opcode, opcode_at_));
  }

  // Each of these does what its opcodes say, and is false for all others.

  bool control(unsigned char opcode) {
    switch (opcode) {
      case kProto:
        if (const std::uint64_t protocol = take_unsigned(1); protocol > kLatestProtocol) {
          throw Error(ErrorCode::kUnsupported,
                      fmt::format("{} is of protocol {}, the latest known is {}", source_, protocol, kLatestProtocol));
        }
        return true;
      case kFrame:
        take_unsigned(8);  // how much to read ahead: everything is here already
        return true;
      case kMark:
        start_mark();
        return true;
      case kPop:
        pop();
        return true;
      case kPopMark:
        above_mark();
        drop_to_mark();
        return true;
      default:
        return false;
    }
  }

  bool push_constant(unsigned char opcode) {
    switch (opcode) {
      case kNone:
        push(PickleType::kNone);
        return true;
      case kNewTrue:
      case kNewFalse:
        push(PickleType::kBool).integer = opcode == kNewTrue;
        return true;
      case kBinInt:
        push_integer(static_cast<std::int32_t>(static_cast<std::uint32_t>(take_unsigned(4))));
        return true;
      case kBinInt1:
        push_integer(static_cast<std::int64_t>(take_unsigned(1)));
        return true;
      case kBinInt2:
        push_integer(static_cast<std::int64_t>(take_unsigned(2)));
        return true;
      case kLong1:
        push_long(take_unsigned(1));
        return true;
      case kLong4:
        push_long(take_unsigned(4));
        return true;
      case kBinFloat:
        take(8);
        push(PickleType::kFloat);
        return true;
      case kShortBinUnicode:
        push_text(PickleType::kText, take_unsigned(1));
        return true;
      case kBinUnicode:
        push_text(PickleType::kText, take_unsigned(4));
        return true;
      case kBinUnicode8:
        push_text(PickleType::kText, take_unsigned(8));
        return true;
      case kShortBinBytes:
      case kShortBinString:
        push_text(PickleType::kBytes, take_unsigned(1));
        return true;
      case kBinBytes:
      case kBinString:
        push_text(PickleType::kBytes, take_unsigned(4));
        return true;
      case kBinBytes8:
        push_text(PickleType::kBytes, take_unsigned(8));
        return true;
      default:
        return false;
    }
  }

  bool change_container(unsigned char opcode) {
    switch (opcode) {
      case kEmptyTuple:
        push(PickleType::kTuple);
        return true;
      case kTuple1:
        push_tuple(1);
        return true;
      case kTuple2:
        push_tuple(2);
        return true;
      case kTuple3:
        push_tuple(3);
        return true;
      case kTuple:
        push_from_mark(PickleType::kTuple);
        return true;
      case kEmptyList:
        push(PickleType::kList);
        return true;
      case kAppend: {
        PickleValue* const item = pop();
        add_items(top(), std::span(&item, 1), PickleType::kList, "an item is appended");
        return true;
      }
      case kAppends:
        add_above_mark(PickleType::kList, "items are appended");
        return true;
      case kEmptySet:
        push(PickleType::kSet);
        return true;
      case kAddItems:
        add_above_mark(PickleType::kSet, "items are added");
        return true;
      case kFrozenSet:
        push_from_mark(PickleType::kSet);
        return true;
      case kEmptyDict:
        push(PickleType::kDict);
        return true;
      case kSetItem: {
        need(2);
        PickleValue* const value = pop();
        PickleValue* const key = pop();
        const std::array<PickleValue*, 2> pair = {key, value};
        add_items(top(), pair, PickleType::kDict, "a key is set");
        return true;
      }
      case kSetItems:
        add_above_mark(PickleType::kDict, "keys are set");
        return true;
      default:
        return false;
    }
  }

  bool use_memo(unsigned char opcode) {
    switch (opcode) {
      case kBinPut:
        put(take_unsigned(1));
        return true;
      case kLongBinPut:
        put(take_unsigned(4));
        return true;
      case kMemoize:
        put(memo_.size());
        return true;
      case kBinGet:
        get(take_unsigned(1));
        return true;
      case kLongBinGet:
        get(take_unsigned(4));
        return true;
      default:
        return false;
    }
  }

  bool use_name(unsigned char opcode) {
    switch (opcode) {
      case kGlobal: {
        const std::string_view module = take_line();
        push_global(module, take_line());
        return true;
      }
      case kStackGlobal: {
        const PickleValue& name = *pop();
        const PickleValue& module = *pop();
        if (name.type != PickleType::kText || module.type != PickleType::kText) damaged("a name is no string");
        push_global(module.text, name.text);
        return true;
      }
      case kReduce:
      case kNewObj:
        call();
        return true;
      case kBuild:
        build();
        return true;
      case kBinPersId: {
        const PickleValue& name = *pop();
        PickleValue& object = push(PickleType::kPersistent);
        add(object, name);
        result_.persistent_.push_back(&object);
        return true;
      }
      default:
        return false;
    }
  }

  const std::string_view text_;
  const std::size_t begin_;
  std::size_t at_;
  std::size_t opcode_at_ = 0;
  const std::string_view source_;
  const GlobalTable table_;
  const FileLimits limits_;

  Pickle result_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack when they were set
  std::unordered_map<std::uint64_t, PickleValue*> memo_;
  std::size_t charged_ = 0;
};

Pickle read_pickle(std::span<const std::byte> bytes, std::size_t position, std::string_view source, GlobalTable table,
                   const FileLimits& limits) {
  return PickleReader(bytes, position, source, table, limits).read();
}

}  // namespace convnext
