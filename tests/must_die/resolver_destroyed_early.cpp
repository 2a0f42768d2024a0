// SPDX-License-Identifier: MIT
// A resolver goes while somebody waits for a name.
// must say: a resolver was destroyed while somebody waits for it
#include <gyre/net/resolver.hpp>
#include <gyre/runtime/executor.hpp>

#include <future>
#include <optional>
#include <string>
#include <vector>

int main() {
  gyre::executor loop;
  std::promise<void> never;
  const auto end = never.get_future().share();
  std::optional<gyre::net::resolver> names;
  names.emplace(gyre::net::resolver_options{
      .look_up = [end](const std::string&, const std::string&) -> gyre::result<std::vector<gyre::net::address>> {
        end.wait();
        return std::vector<gyre::net::address>{};
      }});
  const auto root = loop.start(names->resolve("example.org", 80));
  loop.run_ready();
  names.reset();
}
