// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Where the page of a client lies: client, number of the federation, page within it, each in bits of its own, so
/// that no two pages share a key.
type PageKey is uint256;

/// @dev One slot: a client's updates of seven successive rounds of one federation, 36 bits each.
type Page is uint256;

/// @dev Holds a page, so that its place is hashed once and not for reading and writing each.
struct PageSlot {
    Page page;
}

/// @title What is recorded of updates, seven rounds to a slot
/// @notice A fresh slot is most of what an update costs, so seven rounds share one. In each round's 36 bits lie its
/// milliseconds plus one (0: no update) and, in the highest, whether it is paid. 35 bits hold every time that can be
/// recorded: at most 1000 x 90 days < 2^33 (Bounds.MAX_TRAINING_SECONDS).
library Pages {
    uint256 internal constant ROUNDS = 7;
    uint256 private constant BITS = 36;
    uint256 private constant MILLIS = (1 << (BITS - 1)) - 1;
    uint256 private constant PAID = 1 << (BITS - 1);

    /// @dev Key of the page that holds the update of `client` in the `index`-th round of federation number `federation`.
    function key(address client, uint40 federation, uint32 index) internal pure returns (PageKey) {
        return PageKey.wrap((uint256(uint160(client)) << 72) | (uint256(federation) << 32) | (index / ROUNDS));
    }

    /// @dev What the page holds of a round: milliseconds plus one, 0 where there is no update, and whether it is paid.
    function read(Page page, uint32 index) internal pure returns (uint256 millisPlusOne, bool paid) {
        uint256 entry = Page.unwrap(page) >> _shift(index);
        return (entry & MILLIS, entry & PAID != 0);
    }

    /// @dev `page` with an update of `millis`; the round's place must be empty, and `millis` below 2^35 - 1.
    function withUpdate(Page page, uint32 index, uint40 millis) internal pure returns (Page) {
        unchecked {
            return Page.wrap(Page.unwrap(page) | ((uint256(millis) + 1) << _shift(index)));
        }
    }

    /// @dev `page` with the round's update marked as paid.
    function withPayment(Page page, uint32 index) internal pure returns (Page) {
        return Page.wrap(Page.unwrap(page) | (PAID << _shift(index)));
    }

    function _shift(uint32 index) private pure returns (uint256) {
        unchecked {
            return BITS * (index % ROUNDS);
        }
    }
}
