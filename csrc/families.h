// The one list of operator families: a family is the folder csrc/<family>/ and the namespace cnnfast::<family>.
//
// Includes one file of every family: the includer defines CNNFAST_FAMILY_FILE(family) as table.h, schemas.h or
// family##_simd.inl. It is included several times, so it has no include guard.

// clang-format off: a path must not contain spaces
#define CNNFAST_QUOTE_(path) #path
#define CNNFAST_QUOTE(path) CNNFAST_QUOTE_(path)
#define CNNFAST_PATH(family) CNNFAST_QUOTE(family/CNNFAST_FAMILY_FILE(family))
// clang-format on

#include CNNFAST_PATH(convolution)
#include CNNFAST_PATH(discs)
#include CNNFAST_PATH(distance)
#include CNNFAST_PATH(gram)
#include CNNFAST_PATH(pooling)

#undef CNNFAST_PATH
#undef CNNFAST_QUOTE
#undef CNNFAST_QUOTE_
#undef CNNFAST_FAMILY_FILE
