// The gnuplot program, which draws our charts. It is needed for nothing else: a training run goes on without it.
#pragma once

#include <string>

namespace convnext {

// What gnuplot writes to its standard output for `script`. Its start-up files are not read. Throws Error: kNotInstalled
// when there is none in PATH, kIo with its own words when it fails or takes more than half a minute.
std::string run_gnuplot(const std::string& script);

// `text` as a gnuplot string that means these characters and nothing else: no escapes, no commands in backquotes. An
// apostrophe becomes U+2019 (gnuplot cannot read a string that begins with a doubled one), control characters become
// blanks, and bytes that are not UTF-8 U+FFFD.
std::string gnuplot_string(const std::string& text);

}  // namespace convnext
