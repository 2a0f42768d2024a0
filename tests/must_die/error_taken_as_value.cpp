// SPDX-License-Identifier: MIT
// A result is taken for a value without a look.
// must say: the result holds an error: look before you take
#include <gyre/runtime/result.hpp>

#include <system_error>

int main() {
  gyre::result<int> failed{std::make_error_code(std::errc::broken_pipe)};
  return *failed;
}
