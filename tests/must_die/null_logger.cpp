// SPDX-License-Identifier: MIT
// The library's logger is replaced by none.
// must say: the library needs a logger
#include <gyre/runtime/log.hpp>

#include <spdlog/logger.h>

int main() { gyre::log::set_logger(nullptr); }
