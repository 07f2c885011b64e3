# cmake -DINPUT=file -DFUNCTION=name -DOUTPUT=file.cc -P embed.cmake
#
# Writes C++ that gives the bytes of a file: std::span<const unsigned char> convnext::FUNCTION().
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "(................................................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"model/embedded.h\"

namespace convnext {
namespace {

constexpr unsigned char kBytes[] = {
${bytes}
};

}  // namespace

std::span<const unsigned char> ${FUNCTION}() { return kBytes; }

}  // namespace convnext
")
