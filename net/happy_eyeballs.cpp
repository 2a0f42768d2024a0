// SPDX-License-Identifier: MIT
// Attempts side by side, and which of them is told.
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/auto_event.hpp>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>

namespace gyre::net {
namespace {

// What the attempts of one connect have in common.
struct race_of_attempts {
  std::optional<tcp_stream> won;
  std::error_code first_failure;  // of the first address among those that have failed
  std::size_t first_failed = SIZE_MAX;
  sync::local_auto_event one_failed;
};

task<> attempt(race_of_attempts& race, task_group& all, address peer, std::size_t index) {
  try {
    tcp_stream made = co_await tcp_stream::connect(peer);
    if (race.won) co_return;  // two in one turn: this one is closed
    race.won = std::move(made);
    all.cancel("another address has answered");
  } catch (const std::system_error& failed) {
    if (index < std::exchange(race.first_failed, std::min(index, race.first_failed)))
      race.first_failure = failed.code();
    race.one_failed.set();
  }
}

task<> attempt_all(race_of_attempts& race, task_group& all, const std::vector<address>& peers,
                   std::chrono::nanoseconds delay) {
  for (std::size_t index = 0; index < peers.size(); ++index) {
    all.start(attempt(race, all, peers[index], index));
    co_await move_on_after(delay, race.one_failed.wait());
  }
}

// @param asked_for  What the addresses were found for, "example.org:80"; empty where somebody gave addresses.
task<tcp_stream> first_of(std::vector<address> peers, std::chrono::nanoseconds delay, std::string asked_for) {
  if (peers.empty())
    throw std::system_error{std::make_error_code(std::errc::invalid_argument),
                            "connecting to the first of no addresses"};
  race_of_attempts race;
  co_await with_task_group({}, [&](task_group& all) { return attempt_all(race, all, peers, delay); });
  if (race.won) co_return std::move(*race.won);
  const std::string failed = peers[race.first_failed].to_string();
  const std::string what = asked_for.empty() ? failed : asked_for + " (" + failed + ")";
  throw std::system_error{race.first_failure, "connect " + what};
}

}  // namespace

std::vector<address> interleaved(const std::vector<address>& peers) {
  std::vector<address> in_turns;
  if (peers.empty()) return in_turns;
  const auto next_of = [&](bool is_v6, std::size_t& from) {
    while (from < peers.size() && peers[from].is_v6() != is_v6) ++from;
    if (from < peers.size()) in_turns.push_back(peers[from++]);
  };
  const bool v6_first = peers.front().is_v6();
  for (std::size_t v6 = 0, v4 = 0; in_turns.size() < peers.size();) {
    next_of(v6_first, v6_first ? v6 : v4);
    next_of(!v6_first, v6_first ? v4 : v6);
  }
  return in_turns;
}

task<tcp_stream> connect_to_first(std::vector<address> peers, std::chrono::nanoseconds delay) {
  return first_of(std::move(peers), delay, {});
}

task<tcp_stream> connect(std::string host, std::uint16_t port, resolver& names) {
  const bool has_name = !address::parse(host, port);
  const std::string asked_for = has_name ? host + ":" + std::to_string(port) : "";
  const std::vector<address> found = co_await names.resolve(std::move(host), port);
  co_return co_await first_of(interleaved(found), connection_attempt_delay, asked_for);
}

}  // namespace gyre::net
