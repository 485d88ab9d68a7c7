/* First in files that run once in a while, and in a build for dense nets alone in what calls the kernels: on a board their
 * size counts, not their speed. */
#ifndef TINYFED_SMALL_H
#define TINYFED_SMALL_H

#if defined(__arm__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("Os")
#endif

#endif
