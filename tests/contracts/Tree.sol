// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A Merkle tree with sorted pairs, for tests. Not OpenZeppelin's shape (an odd node moves up as it is), which a
/// proof need not know.
library Tree {
    function root(bytes32[] memory nodes) internal pure returns (bytes32) {
        if (nodes.length == 0) return 0;
        while (nodes.length > 1) {
            nodes = _above(nodes);
        }
        return nodes[0];
    }

    function proof(bytes32[] memory nodes, uint256 position) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory found = new bytes32[](16);
        uint256 count;
        while (nodes.length > 1) {
            uint256 sibling = position ^ 1;
            if (sibling < nodes.length) found[count++] = nodes[sibling];
            nodes = _above(nodes);
            position /= 2;
        }
        siblings = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            siblings[i] = found[i];
        }
    }

    function _above(bytes32[] memory nodes) private pure returns (bytes32[] memory above) {
        above = new bytes32[]((nodes.length + 1) / 2);
        for (uint256 i; i < above.length; ++i) {
            bool alone = 2 * i + 1 == nodes.length;
            above[i] = alone ? nodes[2 * i] : _pair(nodes[2 * i], nodes[2 * i + 1]);
        }
    }

    function _pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }
}
