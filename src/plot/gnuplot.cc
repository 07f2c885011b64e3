#include "plot/gnuplot.h"

#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <system_error>
#include <thread>

#include "convnext/error.h"
#include "plot/text.h"

namespace convnext {
namespace {

constexpr std::chrono::seconds kLimit(30);

[[noreturn]] void throw_io(const char* what, int error) {
  throw Error(ErrorCode::kIo, fmt::format("cannot run gnuplot: {}: {}", what, std::generic_category().message(error)));
}

// A file without a name, gone when closed. Three of these instead of pipes: nobody has to wait for anybody.
class Stream {
 public:
  Stream() : file_(std::tmpfile(), &std::fclose) {
    if (!file_) throw_io("no temporary file", errno);
  }

  int descriptor() const { return fileno(file_.get()); }

  void fill(const std::string& text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
    if (!written || std::fflush(file_.get()) != 0) throw_io("its script cannot be written", errno);
    std::rewind(file_.get());
  }

  std::string text() {
    std::rewind(file_.get());
    std::string all;
    char buffer[1 << 14];
    while (const std::size_t count = std::fread(buffer, 1, sizeof(buffer), file_.get())) all.append(buffer, count);
    return all;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

// The three standard streams of a program about to be started.
class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;

  void connect(const Stream& stream, int descriptor) {
    posix_spawn_file_actions_adddup2(&actions_, stream.descriptor(), descriptor);
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// Its exit status as waitpid() gives it; one that takes too long is ended.
int wait_for(pid_t child) {
  const auto end = std::chrono::steady_clock::now() + kLimit;
  int status = 0;
  while (true) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) throw_io("its end was missed", errno);
    if (std::chrono::steady_clock::now() > end) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      throw Error(ErrorCode::kIo, fmt::format("gnuplot took more than {} s and was ended", kLimit.count()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// What gnuplot said, on one line: its complaint, without the line of the script and the arrow under it.
std::string complaint(std::string said) {
  std::replace_if(
      said.begin(), said.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  said.erase(std::unique(said.begin(), said.end(), [](char a, char b) { return a == ' ' && b == ' '; }), said.end());
  constexpr std::size_t kEnough = 300;
  return said.size() > kEnough ? "... " + said.substr(said.size() - kEnough) : said;
}

}  // namespace

std::string run_gnuplot(const std::string& script) {
  Stream in, out, err;
  in.fill(script);
  FileActions actions;
  actions.connect(in, STDIN_FILENO);
  actions.connect(out, STDOUT_FILENO);
  actions.connect(err, STDERR_FILENO);

  std::string program = "gnuplot", plain = "--default-settings";
  char* const arguments[] = {program.data(), plain.data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), actions.get(), nullptr, arguments, environ);
  if (error == ENOENT) {
    throw Error(ErrorCode::kNotInstalled,
                "charts are drawn by gnuplot, and there is none in PATH: install the package gnuplot-nox");
  }
  if (error != 0) throw_io("it cannot be started", error);

  const int status = wait_for(child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string how = WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                                              : fmt::format("signal {}", WTERMSIG(status));
    throw Error(ErrorCode::kIo, fmt::format("gnuplot failed ({}): {}", how, complaint(err.text())));
  }
  return out.text();
}

std::string gnuplot_string(const std::string& text) {
  std::string quoted = "'";
  for (const char c : drawable_text(text)) quoted += c == '\'' ? "\u2019" : std::string(1, c);
  return quoted + "'";
}

}  // namespace convnext
