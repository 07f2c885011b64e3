// Runs a program as a person would, and says how it ended.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "temporary_folder.h"

namespace convnext {

struct ChildResult {
  int exit_code = -1;  // -1: it was ended by a signal, or took too long
  bool timed_out = false;
  std::string out;
  std::string err;
};

struct ChildOptions {
  std::filesystem::path folder;                    // its working folder
  std::map<std::string, std::string> environment;  // beside what this process has
  std::chrono::seconds limit = std::chrono::seconds(120);
  // Asked again and again while it runs: a signal to send to it, or 0.
  std::function<int()> signal = {};
};

// `arguments` begin with the program's path. Standard input is empty.
inline ChildResult run_child(const std::vector<std::string>& arguments, const ChildOptions& options) {
  const TemporaryFolder streams;
  const std::string out = (streams / "out").string(), err = (streams / "err").string();
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    const int in_file = ::open("/dev/null", O_RDONLY);
    const int out_file = ::open(out.c_str(), O_WRONLY | O_CREAT, 0600);
    const int err_file = ::open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    const bool ready = ::dup2(in_file, 0) == 0 && ::dup2(out_file, 1) == 1 && ::dup2(err_file, 2) == 2 &&
                       ::chdir(options.folder.c_str()) == 0;
    if (ready) ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  ChildResult result;
  const auto end = std::chrono::steady_clock::now() + options.limit;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      result.timed_out = true;
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      break;
    }
    const int signal = options.signal ? options.signal() : 0;
    if (signal != 0) {
      ::kill(child, signal);
      if (signal == SIGKILL) {
        ::waitpid(child, &status, 0);
        break;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(options.signal ? 0 : 2));
  }
  if (!result.timed_out && WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  const auto text = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  result.out = text(out);
  result.err = text(err);
  return result;
}

}  // namespace convnext
