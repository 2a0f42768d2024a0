// SPDX-License-Identifier: MIT
// The page that shows what a folder holds.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <string>
#include <string_view>

namespace http {

/// Reads the folder and makes a page of it. Blocks: not for the executor's thread.
///
/// @param directory  Open for reading.
/// @param path       How the folder is called on the page.
/// @errors           std::system_error from reading it.
/// @limits           Names at most 10,000 entries, and says when there are more.
[[nodiscard]] std::string listing_of(gyre::unique_fd directory, std::string_view path);

}  // namespace http
