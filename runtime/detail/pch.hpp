// SPDX-License-Identifier: MIT
// The library's precompiled header: what most of its files include, and nothing of gyre's own. It only saves time:
// every file still includes what it uses (./dev matrix builds without it).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>
