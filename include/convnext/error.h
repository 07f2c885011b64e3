// convnext/error.h: the one exception type of the library.
//
//   try {
//     auto model = convnext::Model::load("model.safetensors");
//   } catch (const convnext::Error& error) {
//     std::cerr << error.what() << '\n';  // what is wrong, where, and how to mend it
//   }
//
// The library never prints, aborts or exits. Everything that can go wrong because of its input is an Error; anything
// else (std::bad_alloc, std::logic_error) is the machine's limit or our own defect.
#pragma once

#include <stdexcept>
#include <string>

#pragma GCC visibility push(default)
namespace convnext {

enum class ErrorCode {
  kInvalidArgument,  // a value that can never be right: a negative size, an unknown name, options that contradict
  kNotFound,         // no such file, model, tensor or class
  kIo,               // the operating system refused to read or write
  kDamaged,          // the bytes are not what the format promises
  kMismatch,         // both parts are whole, but do not belong together: tensors and network, labels and folders
  kUnsupported,      // well formed, but not something that this build can do
  kNotInstalled,     // needs a part that is not on this machine
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace convnext
#pragma GCC visibility pop
