// SPDX-License-Identifier: MIT
// gyre-doctor: says whether gyre runs on this machine, what it can do here, and what to change where it cannot.
//
// Prints gyre::capabilities, for a person or as JSON. Exit status: 0 gyre runs, 1 it cannot, 2 the command line is
// wrong, 3 no answer could be found or printed.
#include <gyre/runtime/capabilities.hpp>
#include <gyre/runtime/detail/json_text.hpp>

#include <getopt.h>
#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

using gyre::capabilities;
using gyre::detail::json_text;

#ifndef GYRE_VERSION
#define GYRE_VERSION "unknown"  // the build passes it
#endif

enum exit_status { runs = 0, cannot_run = 1, wrong_usage = 2, no_answer = 3 };

constexpr auto usage =
    "Usage: gyre-doctor [--json]\n"
    "Says whether gyre runs on this machine, what it can do here, and how to change what it cannot.\n"
    "\n"
    "  --json     print the same as one JSON object\n"
    "  --help     print this\n"
    "  --version  print gyre's version\n"
    "\n"
    "Exit status: 0 gyre runs, 1 it cannot, 2 the command line is wrong, 3 no answer could be printed.\n";

const char* yes_or_no(bool yes) { return yes ? "yes" : "no"; }

std::string verdict(const capabilities& found) {
  if (found.refused) {
    return fmt::format("gyre cannot run here.\n  Why:   {}.\n  Cure:  {}.\n", found.refused->cause,
                       found.refused->cure);
  }
  return found.ring_notes.empty() ? "gyre runs here.\n"
                                  : fmt::format("gyre runs here.\n  Note:  {}\n", found.ring_notes);
}

// What gyre uses says what follows from it; the rest only whether the kernel has it.
std::string table_of(const std::vector<capabilities::facility>& facilities, bool used) {
  std::string table;
  for (const auto& facility : facilities) {
    if (facility.used != used) continue;
    table += fmt::format("  {:<28} {:<6} {:<4} {}", facility.name, facility.since, yes_or_no(facility.available),
                         used ? facility.consequence : "");
    table.erase(table.find_last_not_of(' ') + 1);
    table += '\n';
  }
  return table;
}

std::string for_a_person(const capabilities& found) {
  auto text = fmt::format("gyre {} on Linux {}\n\n{}", GYRE_VERSION, found.kernel_release, verdict(found));
  if (!found.facilities.empty()) {
    text += fmt::format("\n  {:<28} {:<6} {:<4} {}\n", "What gyre uses", "since", "here", "so");
    text += table_of(found.facilities, /*used=*/true);
    text += "\n  What gyre does not use yet\n";
    text += table_of(found.facilities, /*used=*/false);
  }
  text += "\n  Limits\n";
  for (const auto& limit : found.limits) {
    text += fmt::format("  {:<14} {}\n{:17}{}\n{:17}To raise it: {}.\n", limit.name, limit.value, "",
                        limit.meaning + '.', "", limit.raise);
  }
  return text;
}

std::string json(const capabilities::facility& facility) {
  return fmt::format(R"({{"name": {}, "since": {}, "available": {}, "used": {}, "consequence": {}}})",
                     json_text(facility.name), json_text(facility.since), facility.available, facility.used,
                     json_text(facility.consequence));
}

std::string json(const capabilities::limit& limit) {
  return fmt::format(R"({{"name": {}, "value": {}, "meaning": {}, "raise": {}}})", json_text(limit.name),
                     json_text(limit.value), json_text(limit.meaning), json_text(limit.raise));
}

template <typename Items>
std::string json_list(const Items& items) {
  std::string list;
  for (const auto& item : items) list += (list.empty() ? "\n    " : ",\n    ") + json(item);
  return '[' + list + (list.empty() ? "]" : "\n  ]");
}

std::string json(const capabilities& found) {
  const auto refused = found.refused ? fmt::format(R"({{"cause": {}, "cure": {}}})", json_text(found.refused->cause),
                                                   json_text(found.refused->cure))
                                     : std::string{"null"};
  return fmt::format(
      "{{\n  \"version\": {},\n  \"kernel\": {},\n  \"can_run\": {},\n  \"refused\": {},\n  \"ring_notes\": {},\n"
      "  \"facilities\": {},\n  \"limits\": {}\n}}\n",
      json_text(GYRE_VERSION), json_text(found.kernel_release), found.can_run(), refused, json_text(found.ring_notes),
      json_list(found.facilities), json_list(found.limits));
}

int print(const std::string& text, int status) {
  // A full disk or a closed pipe must not look like an answer.
  const bool printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return printed ? status : no_answer;
}

int run(int argc, char* argv[]) {
  enum { json_option = 1, help_option, version_option };
  const option options[] = {{"json", no_argument, nullptr, json_option},
                            {"help", no_argument, nullptr, help_option},
                            {"version", no_argument, nullptr, version_option},
                            {nullptr, 0, nullptr, 0}};
  bool as_json = false;
  for (;;) {
    const int chosen = getopt_long(argc, argv, "", options, nullptr);
    if (chosen == -1) break;
    if (chosen == help_option) return print(usage, runs);
    if (chosen == version_option) return print("gyre-doctor " GYRE_VERSION "\n", runs);
    if (chosen != json_option) {  // getopt_long() has named the culprit
      std::fputs(usage, stderr);
      return wrong_usage;
    }
    as_json = true;
  }
  if (optind != argc) {
    std::fprintf(stderr, "%s: unexpected argument '%s'\n%s", argv[0], argv[optind], usage);
    return wrong_usage;
  }

  const auto found = capabilities::query();
  return print(as_json ? json(found) : for_a_person(found), found.can_run() ? runs : cannot_run);
}

}  // namespace

int main(int argc, char* argv[]) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gyre-doctor: %s\n", error.what());
    return no_answer;
  }
}
