// SPDX-License-Identifier: MIT
// What a file holds, as far as its name tells.
#pragma once

#include <string_view>

namespace http {

/// The media type for a path, "application/octet-stream" when its ending says nothing.
[[nodiscard]] std::string_view content_type_of(std::string_view path) noexcept;

}  // namespace http
