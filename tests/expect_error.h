// Expects an Error of a certain code, with texts that its message must have for the reader to act on it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "convnext/error.h"

namespace convnext {

template <typename Function>
void expect_error(ErrorCode code, std::initializer_list<std::string> texts, const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& text : texts) EXPECT_THAT(error.what(), testing::HasSubstr(text));
    return;
  }
  ADD_FAILURE() << "no error was thrown";
}

}  // namespace convnext
