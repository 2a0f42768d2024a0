// SPDX-License-Identifier: MIT
// What first_success() throws when all have failed.
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/when_any.hpp>

namespace gyre::detail {

void throw_first_failure(const std::exception_ptr* errors, std::size_t count) {
  for (std::size_t index = 1; index < count; ++index)
    log::exception("another one that might have succeeded failed as well", errors[index]);
  std::rethrow_exception(errors[0]);
}

}  // namespace gyre::detail
