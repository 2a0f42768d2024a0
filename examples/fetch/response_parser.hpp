// SPDX-License-Identifier: MIT
// One response, out of bytes as they come. Boost.Beast's parser reads them, chunked bodies too; this keeps what a
// client needs, and says where in the bytes its body lies.
#pragma once

#include <boost/beast/http/basic_parser.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fetch {

class response_parser final : boost::beast::http::basic_parser<false> {
 public:
  static constexpr std::uint32_t header_bytes_max = 32 * 1024;

  response_parser();

  /// Reads some more. `bytes` are all that have come and were not taken yet. Returns how many it has taken.
  ///
  /// @errors  std::runtime_error: it is no response of HTTP's
  [[nodiscard]] std::size_t put(std::span<const std::byte> bytes);

  /// The server has closed. Errors as put(): in the middle of a response.
  void end();

  /// What the last put() has found of the body. Refers to the bytes that were put.
  [[nodiscard]] const std::vector<std::span<const std::byte>>& body() const noexcept { return body_; }

  [[nodiscard]] bool has_header() const { return is_header_done(); }
  [[nodiscard]] bool has_ended() const { return is_done(); }

  // As the header says.
  [[nodiscard]] bool is_interim() const noexcept { return status_ < 200; }  // another one follows
  [[nodiscard]] bool is_success() const noexcept { return status_ >= 200 && status_ < 300; }
  [[nodiscard]] bool is_redirect() const noexcept;
  [[nodiscard]] std::string status_text() const { return std::to_string(status_) + " " + reason_; }
  [[nodiscard]] const std::string& location() const noexcept { return location_; }

 private:
  using string_view = boost::beast::string_view;
  using error_code = boost::beast::error_code;
  using field = boost::beast::http::field;
  using verb = boost::beast::http::verb;

  void on_response_impl(int status, string_view reason, int version, error_code& error) override;
  void on_field_impl(field name, string_view name_text, string_view value, error_code& error) override;
  std::size_t on_body_impl(string_view body, error_code& error) override;
  std::size_t on_chunk_body_impl(std::uint64_t left, string_view body, error_code& error) override;

  // Nothing to be kept of these.
  void on_request_impl(verb, string_view, string_view, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  int status_ = 0;
  std::string reason_;
  std::string location_;
  std::vector<std::span<const std::byte>> body_;
};

}  // namespace fetch
