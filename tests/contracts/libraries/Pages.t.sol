// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Page, PageKey, Pages} from "../../../contracts/libraries/Pages.sol";
import {within} from "../Vm.sol";

/// @dev Seven rounds share a slot, and none of them knows of the others.
contract PagesTest {
    uint256 private constant ROUNDS = 30;
    mapping(PageKey key => Page) private _pages;

    function test_APageIsSevenRounds() external pure {
        assert(Pages.ROUNDS == 7);
    }

    /// @dev Updates and payments of thirty rounds in any order: each round reads as if it had a slot of its own.
    function testFuzz_RoundsOfAPageAreIslands(address client, uint40 federation, uint32 first, uint256[] calldata moves)
        external
    {
        first = uint32(within(first, 0, type(uint32).max - ROUNDS));
        uint256[ROUNDS] memory millisPlusOne;
        bool[ROUNDS] memory paid;
        for (uint256 i; i < moves.length && i < 60; ++i) {
            uint256 which = moves[i] % ROUNDS;
            uint32 index = first + uint32(which);
            PageKey key = Pages.key(client, federation, index);
            if (millisPlusOne[which] == 0) {
                uint40 millis = uint40(within(moves[i] >> 8, 0, moves[i] % 3 == 0 ? 2 : 1000 * 90 days));
                _pages[key] = Pages.withUpdate(_pages[key], index, millis);
                millisPlusOne[which] = uint256(millis) + 1;
            } else {
                _pages[key] = Pages.withPayment(_pages[key], index);
                paid[which] = true;
            }
        }
        for (uint256 which; which < ROUNDS; ++which) {
            uint32 index = first + uint32(which);
            (uint256 found, bool isPaid) = Pages.read(_pages[Pages.key(client, federation, index)], index);
            assert(found == millisPlusOne[which] && isPaid == paid[which]);
        }
    }

    /// @dev Two updates share a page only where client and federation are the same and the rounds are of one seven.
    function testFuzz_KeysDoNotMeet(address a, address b, uint40 f, uint40 g, uint32 i, uint32 j) external pure {
        bool same = PageKey.unwrap(Pages.key(a, f, i)) == PageKey.unwrap(Pages.key(b, g, j));
        assert(same == (a == b && f == g && i / 7 == j / 7));
        assert(PageKey.unwrap(Pages.key(a, f, i)) == PageKey.unwrap(Pages.key(a, f, i - i % 7)));
    }
}
