#include "io/pickle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/expect_error.h"

namespace convnext {
namespace {

GlobalRole role(std::string_view name) {
  if (name == "collections.OrderedDict") return GlobalRole::kMapping;
  if (name == "builtins.set" || name == "builtins.frozenset") return GlobalRole::kCall;
  if (name == "_codecs.encode" || name == "some.Opaque") return GlobalRole::kOpaque;
  if (name == "torch.float32") return GlobalRole::kConstant;
  return GlobalRole::kUnknown;
}

// A value as Python would print it, more or less.
std::string text_of(const PickleValue& value) {
  std::string items;
  for (const PickleValue* item : value.items) items += fmt::format("{}{}", items.empty() ? "" : " ", text_of(*item));
  switch (value.type) {
    case PickleType::kNone:
      return "None";
    case PickleType::kBool:
      return value.integer != 0 ? "True" : "False";
    case PickleType::kInteger:
      return fmt::format("{}", value.integer);
    case PickleType::kLargeInteger:
      return fmt::format("large:{}", value.text.size());
    case PickleType::kFloat:
      return "float";
    case PickleType::kText:
      return fmt::format("'{}'", value.text);
    case PickleType::kBytes:
      return fmt::format("bytes:{}", value.text.size());
    case PickleType::kTuple:
      return fmt::format("({})", items);
    case PickleType::kList:
      return fmt::format("[{}]", items);
    case PickleType::kSet:
      return fmt::format("set({})", items);
    case PickleType::kDict:
      return fmt::format("{{{}}}", items);
    case PickleType::kGlobal:
      return std::string(value.text);
    case PickleType::kCall:
      return fmt::format("{}({})", value.text, items);
    case PickleType::kPersistent:
      return fmt::format("stored({})", items);
    case PickleType::kOpaque:
      return "opaque";
  }
  return "?";
}

std::string bytes_of_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

Pickle read(const std::string& program, const FileLimits& limits = {}) {
  return read_pickle(std::as_bytes(std::span(program)), 0, "'a.pth'", role, limits);
}
std::string value_of(const std::string& program) { return text_of(read(program).root()); }

void expect_refused(ErrorCode code, const std::string& program, const std::string& text) {
  SCOPED_TRACE(text);
  expect_error(code, {"'a.pth'", text}, [&] { read(program); });
}

// 32-bit little-endian.
std::string word(std::uint32_t number) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(number >> (8 * i));
  return bytes;
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// Written by CPython 3.11: pickle.dumps((None, True, False, 1, -1, 300, 70000, 2**40, -2**40, 2**80, 1.5, "é", b"\0x",
// (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [7], [1, 2], {3}, frozenset([4]), {"a": 5}, {"b": 6, "c": 7}), protocol).
const std::string kProtocol2 = bytes_of_hex(
    "8002284e88894b014affffffff4d2c014a701101008a060000000000018a060000000000ff8a0b0000000000000000000001473ff800000000"
    "00005802000000c3a97100635f636f646563730a656e636f64650a710158020000000078710258060000006c6174696e317103867104527105"
    "4b"
    "018571064b014b028671074b014b024b03877108284b014b024b034b047471095d710a4b07615d710b284b014b0265635f5f6275696c74696e"
    "5f"
    "5f0a7365740a710c5d710d4b036185710e52710f635f5f6275696c74696e5f5f0a66726f7a656e7365740a71105d71114b0461857112527113"
    "7d"
    "711458010000006171154b05737d71162858010000006271174b0658010000006371184b07757471192e");
const std::string kProtocol4 = bytes_of_hex(
    "8004959400000000000000284e88894b014affffffff4d2c014a701101008a060000000000018a060000000000ff8a0b000000000000000000"
    "0001"
    "473ff80000000000008c02c3a99443020078944b0185944b014b0286944b014b024b038794284b014b024b034b0474945d944b07615d94284b"
    "014b"
    "02658f94284b0390284b0491947d948c0161944b05737d94288c0162944b068c0163944b077574942e");

TEST(PickleReader, EveryKindOfValueIsWhatPythonWrote) {
  const std::string begin =
      "(None True False 1 -1 300 70000 1099511627776 -1099511627776 large:11 float 'é' {} (1) (1 2) (1 2 3) (1 2 3 4) "
      "[7] "
      "[1 2] {} {{'a' 5}} {{'b' 6 'c' 7}})";
  EXPECT_EQ(value_of(kProtocol2),
            fmt::format(fmt::runtime(begin), "opaque", "builtins.set([3]) builtins.frozenset([4])"));
  EXPECT_EQ(value_of(kProtocol4), fmt::format(fmt::runtime(begin), "bytes:2", "set(3) set(4)"));
}

TEST(PickleReader, SeveralPicklesFollowEachOther) {
  const std::string program = "\x80\x02K\x01.\x80\x02K\x02.";
  const Pickle first = read(program);
  EXPECT_EQ(first.size(), 5u);
  const Pickle second = read_pickle(std::as_bytes(std::span(program)), first.size(), "'a.pth'", role);
  EXPECT_EQ(second.root().integer, 2);
  // Places are the file's, not the pickle's.
  const std::string damaged = program.substr(0, 9);
  expect_error(ErrorCode::kDamaged, {"at byte 9"},
               [&] { read_pickle(std::as_bytes(std::span(damaged)), first.size(), "'a.pth'", role); });
}

TEST(PickleReader, CallsAreNotedAndNeverDone) {
  EXPECT_EQ(value_of("cbuiltins\nset\n(K\x01K\x02tR."), "builtins.set(1 2)");
  EXPECT_EQ(value_of("csome\nOpaque\n)R."), "opaque");
  EXPECT_EQ(value_of("csome\nOpaque\n)\x81}b."), "opaque");
  EXPECT_EQ(value_of("csome\nOpaque\n)RK\x01K\x02s."), "opaque");
  EXPECT_EQ(value_of("csome\nOpaque\n)R(K\x01K\x02"
                     "e."),
            "opaque");
  EXPECT_EQ(value_of("ctorch\nfloat32\n."), "torch.float32");
  EXPECT_EQ(value_of("K\x05Q."), "stored(5)");
}

TEST(PickleReader, OrderedDictsOfPython2And3AreDicts) {
  const std::string dict = "ccollections\nOrderedDict\n";
  EXPECT_EQ(value_of(dict + ")R."), "{}");
  EXPECT_EQ(value_of(dict + ")R(K\x01K\x02K\x03K\x04u."), "{1 2 3 4}");
  EXPECT_EQ(value_of(dict + ")R}b."), "{}");
  EXPECT_EQ(value_of(dict + "](](K\x01K\x02"
                            "e](K\x03K\x04"
                            "ee\x85R."),
            "{1 2 3 4}");
  EXPECT_EQ(value_of(dict + "}K\x01K\x02s\x85R."), "{1 2}");
  expect_refused(ErrorCode::kDamaged,
                 dict +
                     "](K\x01"
                     "e\x85R.",
                 "no pair");
}

TEST(PickleReader, AListMayHoldItself) {
  const Pickle pickle = read(std::string("]q\0h\0a.", 7));
  EXPECT_EQ(pickle.root().items.front(), &pickle.root());
}

// What was put into a container after the container was put into another one does not count as its depth.
TEST(PickleReader, TheMemoNestsBeyondTheLimit) {
  std::string program = std::string("]q") + '\0';
  for (int i = 0; i < 10; ++i)
    program += fmt::format("h{0}]q{1}a0h{1}", static_cast<char>(i), static_cast<char>(i + 1));
  program += repeated("0", 10) + ".";
  const Pickle pickle = read(program, {.max_nesting = 3});
  const PickleValue* value = &pickle.root();
  for (int i = 0; i < 10; ++i) value = value->items.at(0);
  EXPECT_TRUE(value->items.empty());
}

TEST(PickleReader, LongNamesAreRefused) {
  const std::string name(1000, 'n');
  expect_refused(ErrorCode::kUnsupported, "cos\n" + name + "\n", "os.nnn");
  expect_refused(ErrorCode::kDamaged, "cos\n" + name + "n\n", "more than 1000 bytes");
  expect_refused(ErrorCode::kDamaged, "c" + name + "n\nx\n", "more than 1000 bytes");
  const std::string long_text = std::string("X") + word(1001) + name + "n";
  expect_refused(ErrorCode::kDamaged, long_text + "N0U\x01n0" + long_text + long_text + "\x93", "more than 1000 bytes");
  expect_refused(ErrorCode::kDamaged, std::string("c") + name.substr(1), "cut short");
}

TEST(PickleReader, NamesThatNobodyNeedsAreRefusedWithTheirPlace) {
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"os", "system"},
                                                        {"posix", "system"},
                                                        {"__builtin__", "eval"},
                                                        {"builtins", "exec"},
                                                        {"nt", "system"},
                                                        {"subprocess", "Popen"},
                                                        {"torch", "load"},
                                                        {"collections", "OrderedDict.fromkeys"}}) {
    const std::string full = fmt::format("'{}.{}'", module == "__builtin__" ? "builtins" : module, name);
    expect_refused(ErrorCode::kUnsupported, fmt::format("\x80\x02}}c{}\n{}\n(X\x02", module, name), full);
    expect_refused(ErrorCode::kUnsupported, fmt::format("\x80\x02}}c{}\n{}\n(X\x02", module, name), "at byte 3");
    const std::string in_stack = fmt::format("\x80\x04\x8c{}{}\x8c{}{}\x93.", static_cast<char>(module.size()), module,
                                             static_cast<char>(name.size()), name);
    expect_refused(ErrorCode::kUnsupported, in_stack, full);
  }
}

TEST(PickleReader, OnlyKnownNamesAreCalled) {
  expect_refused(ErrorCode::kUnsupported, "ctorch\nfloat32\n)R.", "calls 'torch.float32' at byte 16");
  expect_refused(ErrorCode::kUnsupported, "ctorch\nfloat32\n)\x81.", "calls 'torch.float32'");
  expect_refused(ErrorCode::kUnsupported, "K\x01)R.", "calls an integer");
  expect_refused(ErrorCode::kUnsupported, "cbuiltins\nset\n)R)R.", "calls the result of a call");
  expect_refused(ErrorCode::kDamaged, "cbuiltins\nset\nK\x01R.", "the arguments are an integer");
}

TEST(PickleReader, OtherOpcodesAreRefusedByNumber) {
  for (const char opcode : {'i', 'o', 'I', 'L', 'S', 'V', 'P', 'd', 'l', 'p', 'g', 'F', '2', '\x82', '\x92', '\x96'}) {
    expect_refused(ErrorCode::kUnsupported, fmt::format("NNN{}.", opcode),
                   fmt::format("opcode 0x{:02x} at byte 3", static_cast<unsigned char>(opcode)));
  }
  expect_refused(ErrorCode::kUnsupported, "\x80\x06.", "protocol 6");
}

TEST(PickleReader, CutAtAnyByteIsRefused) {
  for (const std::string& whole : {kProtocol2, kProtocol4}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      SCOPED_TRACE(size);
      expect_error(ErrorCode::kDamaged, {"'a.pth'", "byte"}, [&] { (void)read(whole.substr(0, size)); });
    }
  }
}

// Whatever one byte becomes, the pickle is refused or gives some value; sanitizers watch.
TEST(PickleReader, AnyChangedByteIsHarmless) {
  for (const std::string& whole : {kProtocol2, kProtocol4}) {
    int accepted = 0;
    int refused = 0;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string changed = whole;
        changed[at] = static_cast<char>(value);
        if (changed == whole) continue;
        try {
          ASSERT_LE(read(changed).size(), changed.size());
          ++accepted;
        } catch (const Error& error) {
          ++refused;
          ASSERT_NE(std::string_view(error.what()).find("'a.pth'"), std::string_view::npos);
        }
      }
    }
    // Numbers may be any; opcodes, lengths and names may not.
    EXPECT_GT(accepted, 2000);
    EXPECT_GT(refused, 2000);
  }
}

TEST(PickleReader, AStackThatDoesNotFitIsRefused) {
  for (const std::string program :
       {".",   "NN.",   "(N.", "0.", "R.", "N\x85\x86.", "(\x85.", "Na.", "NNs.",    "Ne.",
        "(e.", "](e(.", "t.",  "1.", "Q.", "b.",         "K\x01q", "Nb.", "(}(NNu.", "}(Nu."}) {
    expect_refused(ErrorCode::kDamaged, program, "byte");
  }
  expect_refused(ErrorCode::kDamaged,
                 "NK\x01"
                 "a.",
                 "to None");
  expect_refused(ErrorCode::kDamaged,
                 ")K\x01"
                 "a.",
                 "to a tuple");
  expect_refused(ErrorCode::kDamaged, "]NNs.", "a key is set to a list");
  expect_refused(ErrorCode::kDamaged, "h\x07.", "nothing was kept under 7");
  expect_refused(ErrorCode::kDamaged, std::string("Nr") + word(1) + "j" + word(~0u) + ".",
                 "nothing was kept under 4294967295");
}

TEST(PickleReader, LengthsThatLieAreRefusedBeforeAnythingIsMade) {
  for (const std::string& program :
       {std::string("X") + word(~0u) + "abc.", std::string("B") + word(0x7fffffff) + "abc.",
        std::string("\x8b") + word(0xfffffff0) + "abc.", std::string("\x8d") + word(~0u) + word(~0u) + "abc.",
        std::string("\x8e") + word(3) + word(1) + "abc.",
        std::string("U\xff"
                    "abc."),
        std::string("\x8a\x09"
                    "abc.")}) {
    expect_refused(ErrorCode::kDamaged, program, "cut short");
  }
}

TEST(PickleReader, NestingIsLimited) {
  const FileLimits limits{.max_nesting = 100};
  EXPECT_EQ(read(std::string("N") + repeated("\x85", 100) + ".", limits).root().depth, 100);
  EXPECT_EQ(read(repeated("(", 100) + repeated("t", 100) + ".", limits).root().type, PickleType::kTuple);
  const auto refuse = [&](const std::string& program, const std::string& text) {
    expect_error(ErrorCode::kUnsupported, {"'a.pth' at byte ", text, "more than the limit of 100 (--max-nesting)"},
                 [&] { read(program, limits); });
  };
  refuse(std::string("N") + repeated("\x85", 101) + ".", "byte 101: values are nested 101 deep");
  refuse(std::string("]") + repeated("]", 101) + repeated("a", 101) + ".", "values are nested 101 deep");
  refuse(repeated("(", 101), "byte 100: marks are nested 101 deep");
  // Deeper than any stack of calls, were this read by recursion.
  expect_refused(ErrorCode::kUnsupported, std::string("N") + repeated("\x85", 1'000'000) + ".", "nested 1,001 deep");
  expect_refused(ErrorCode::kUnsupported, repeated("(", 1'000'000), "nested 1,001 deep");
}

TEST(PickleReader, ValuesAndTheMemoAreLimited) {
  FileLimits limits{.max_memo = 1000};
  const auto refuse = [&](const std::string& program, const std::string& text) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kUnsupported, {"'a.pth' at byte ", text, "(--max-memo)"}, [&] { read(program, limits); });
  };
  const std::string beyond = "values and entries of its memo, more than the limit of 1,000";
  EXPECT_EQ(read(std::string("(") + repeated("N", 999) + "t.", limits).root().items.size(), 999u);
  refuse(repeated("N", 1001), "byte 1000: it has made 1,001 " + beyond);
  refuse(std::string("N") + repeated("q\x01", 1000), "it has made 1,001 " + beyond);
  refuse(std::string("Nq\x01") + repeated("h\x01", 1001), "its stack holds 1,001 values");
  // A list that is handed on as a dict again and again costs nothing but a few bytes each time.
  refuse(
      std::string("](") + repeated("NN\x86", 100) + "eq\x01" + repeated("ccollections\nOrderedDict\nh\x01\x85R0", 10),
      beyond);
  refuse(std::string("(") + repeated("N", 300) + "tq\x01" + repeated("cbuiltins\nset\nh\x01R0", 10), beyond);
}

TEST(PickleReader, BytesAreLimited) {
  const FileLimits limits{.max_header_bytes = 100};
  EXPECT_EQ(read(repeated("N0", 49) + "N.", limits).size(), 100u);
  expect_error(ErrorCode::kUnsupported,
               {"'a.pth' at byte 100: it is 101 bytes so far, more than the limit of 100 (--max-header-bytes)"},
               [&] { read(repeated("N0", 50) + "N.", limits); });
}

}  // namespace
}  // namespace convnext
