// A stand-in for cuBLASLt on the CPU: the entry points that kernels/cublas_lt.py calls, with the header's numbers, so
// that its ctypes code runs as it is. "Device memory" is host memory, a stream a number that is written down.
//
// It is as strict as the documentation, which the library is not always: an attribute's size must be its type's, a
// layout's leading dimension no shorter than a column, the workspace aligned to 256 bytes and as large as the algorithm
// wants, an algorithm only for the types, transposes, epilogue and alignment it was found for. Whatever does not hold
// is CUBLAS_STATUS_INVALID_VALUE, with the reason from `emulated_complaint`. What the library leaves open can be chosen
// by a test, with `emulated_choose`: what the search refuses, what the check refuses, what the environment forces.
//
// Products are plain loops over float32 sums. TF32 and the 16-bit types round to nearest, ties to even.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <set>

namespace {

enum Status { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15 };
enum DataType { R_32F = 0, R_16F = 2, R_16BF = 14 };
enum ComputeType { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };

struct Operation {
  int32_t compute, scale, transpose_a = 0, transpose_b = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t schemes = 7, alignment[4] = {256, 256, 256, 256};
  uint64_t implementations = ~0ull;
};

// What the 64 opaque bytes of an algorithm hold here.
struct Algorithm {
  uint32_t magic;
  int32_t compute, types[3];  // of A, of B, of C and D
  int32_t transpose_a, transpose_b;
  uint32_t epilogue;
  int32_t rounds_inputs;   // to TF32
  uint16_t alignment[4];   // bytes, at most 16: of addresses and leading dimensions of A, B and D, and of the bias
  uint64_t workspace;
};
static_assert(sizeof(Algorithm) <= 64);
struct Result {
  union {
    Algorithm algorithm;
    uint64_t data[8];
  };
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Result) == 96);

constexpr uint32_t MAGIC = 0x4c744c74;
constexpr uint64_t FMA = 0x1, HMMA = 0x2, ACCUMULATOR_32F = 0x2 << 8;
constexpr uint64_t INPUT_16F = 0x1 << 16, INPUT_16BF = 0x2 << 16, INPUT_TF32 = 0x4 << 16, INPUT_32F = 0x8 << 16;

std::set<const void*> alive;  // descriptors and handles: an address that is none of them is refused
thread_local const char* complaint = "";
long long searches, checks, products, last_stream;

enum Choice { NO_BIAS, CHECK_REFUSES, FORCE_TF32, FAIL_PRODUCT, FAIL_SEARCH, NOTHING_FOUND, CHOICES };
int choices[CHOICES];

thread_local void* capturing;  // this thread's stream that records a graph

// The default stream makes its products at once. Another's are kept, and somebody is told the number of each, and says
// when.
void (*tell)(int);
std::deque<std::function<void()>> products_kept;
std::mutex keeping_products;

int refuse(const char* why) {
  complaint = why;
  return INVALID_VALUE;
}

template <class T>
T* known(void* address) {
  return alive.count(address) ? static_cast<T*>(address) : nullptr;
}

template <class T>
int made(T** where, T* what) {
  if (!where) return refuse("nowhere to put a descriptor");
  alive.insert(what);
  *where = what;
  return SUCCESS;
}

template <class T>
int put(T& field, const void* value, size_t size) {
  if (!value) return refuse("no value");
  if (size != sizeof(T)) return refuse("the attribute is of another size");
  std::memcpy(&field, value, size);
  return SUCCESS;
}

int size_of(int type) { return type == R_32F ? 4 : 2; }

float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

float keeping(float value, int fraction) {  // bits of fraction, of 23
  uint32_t bits = float_to_bits(value), dropped = 23 - fraction, half = 1u << (dropped - 1);
  bits += half - 1 + (bits >> dropped & 1);
  return bits_to_float(bits >> dropped << dropped);
}

float half_to_float(uint16_t half) {
  uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000u | fraction << 13);
  float size = exponent ? bits_to_float((exponent + 112) << 23 | fraction << 13) : fraction * 5.9604644775390625e-8f;
  return sign ? -size : size;
}

uint16_t float_to_half(float value) {
  uint32_t bits = float_to_bits(value), sign = bits >> 16 & 0x8000u;
  float size = bits_to_float(bits & 0x7fffffffu);
  if (size != size) return sign | 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 6.103515625e-5f) {  // subnormal: adding 0.5 leaves multiples of 2^-24 in the fraction, rounded
    return sign | (float_to_bits(size + 0.5f) - 0x3f000000u);
  }
  return sign | ((float_to_bits(keeping(size, 10)) >> 13) - (112u << 10));
}

float load(const void* memory, int type, uint64_t i) {
  if (type == R_32F) return static_cast<const float*>(memory)[i];
  uint16_t bits = static_cast<const uint16_t*>(memory)[i];
  return type == R_16F ? half_to_float(bits) : bits_to_float(uint32_t(bits) << 16);
}

void store(void* memory, int type, uint64_t i, float value) {
  auto halves = static_cast<uint16_t*>(memory);
  if (type == R_32F) static_cast<float*>(memory)[i] = value;
  else halves[i] = type == R_16F ? float_to_half(value) : float_to_bits(keeping(value, 7)) >> 16;
}

uint32_t alignment_of(uint64_t bytes) { return bytes % 256 ? bytes & -bytes : 256; }

uint16_t least(std::initializer_list<uint32_t> alignments) { return std::min(16u, std::min(alignments)); }

// Whether operation and layouts describe a product at all; its sizes.
int described(const Operation* op, const Layout* a, const Layout* b, const Layout* c, const Layout* d, uint64_t& m,
              uint64_t& n, uint64_t& k) {
  if (!op || !a || !b || !c || !d) return refuse("not a descriptor");
  for (const Layout* layout : {a, b, c, d}) {
    if (layout->type != R_32F && layout->type != R_16F && layout->type != R_16BF) return refuse("type unknown");
    if (!layout->rows || !layout->columns) return refuse("an empty matrix");
    if (layout->leading < int64_t(layout->rows)) return refuse("columns overlap");
  }
  if ((op->transpose_a | op->transpose_b) & ~1) return refuse("neither N nor T");
  m = op->transpose_a ? a->columns : a->rows, k = op->transpose_a ? a->rows : a->columns;
  n = op->transpose_b ? b->rows : b->columns;
  if ((op->transpose_b ? b->columns : b->rows) != k) return refuse("A and B do not multiply");
  if (d->rows != m || d->columns != n) return refuse("D has another shape");
  if (c->rows != m || c->columns != n || c->type != d->type) return refuse("C is not like D");
  if (a->type != b->type || (d->type != a->type && d->type != R_32F)) return refuse("types do not go together");
  if (op->compute != COMPUTE_32F && op->compute != COMPUTE_32F_FAST_TF32) return refuse("compute type unknown");
  if (op->scale != R_32F) return refuse("alpha and beta are float32");
  if (op->compute == COMPUTE_32F_FAST_TF32 && a->type != R_32F) return refuse("TF32 is for float32");
  if (op->epilogue != 1 && op->epilogue != 4) return refuse("epilogue unknown");
  if ((op->epilogue == 4) != (op->bias != nullptr)) return refuse("a bias without its epilogue, or that without one");
  return SUCCESS;
}

bool fits(const Algorithm* x, const Operation* op, const Layout* a, const Layout* b, const Layout* d) {
  return x && x->magic == MAGIC && x->compute == op->compute && x->types[0] == a->type && x->types[1] == b->type &&
         x->types[2] == d->type && x->transpose_a == op->transpose_a && x->transpose_b == op->transpose_b &&
         x->epilogue == op->epilogue;
}

}  // namespace

extern "C" {

const char* emulated_complaint() { return complaint; }
void emulated_choose(int choice, int value) { choices[choice] = value; }
void emulated_tell(void (*whom)(int)) { tell = whom; }
void emulated_capture(void* stream) { capturing = stream; }
void emulated_replay(int number) {
  std::unique_lock lock(keeping_products);
  auto& product = products_kept[number];  // stays where it is while others are kept
  lock.unlock();
  product();
}
long long emulated_count(int which) {
  const long long counts[] = {searches, checks, products, last_stream, (long long)alive.size()};
  return counts[which];
}

const char* cublasLtGetStatusName(int status) {
  switch (status) {
    case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unrecognized status";
  }
}

int cublasLtCreate(int** handle) { return made(handle, new int); }

int cublasLtMatmulDescCreate(Operation** operation, int compute, int scale) {
  return made(operation, new Operation{compute, scale});
}

int cublasLtMatmulDescSetAttribute(void* operation, int attribute, const void* value, size_t size) {
  auto op = known<Operation>(operation);
  if (!op) return refuse("not a descriptor");
  switch (attribute) {
    case 3: return put(op->transpose_a, value, size);
    case 4: return put(op->transpose_b, value, size);
    case 7: return put(op->epilogue, value, size);
    case 8: return put(op->bias, value, size);
    default: return refuse("attribute unknown");
  }
}

int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  return made(layout, new Layout{type, rows, columns, leading});
}

int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t size) {
  auto of = known<Layout>(layout);
  if (!of) return refuse("not a descriptor");
  switch (attribute) {
    case 2: return put(of->rows, value, size);
    case 3: return put(of->columns, value, size);
    case 4: return put(of->leading, value, size);
    default: return refuse("attribute unknown");
  }
}

int cublasLtMatmulPreferenceCreate(Preference** preference) { return made(preference, new Preference); }

int cublasLtMatmulPreferenceDestroy(void* preference) {
  if (!alive.erase(preference)) return refuse("not a descriptor");
  delete static_cast<Preference*>(preference);
  return SUCCESS;
}

int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t size) {
  auto p = known<Preference>(preference);
  if (!p) return refuse("not a descriptor");
  switch (attribute) {
    case 1: return put(p->workspace, value, size);
    case 3: return put(p->schemes, value, size);
    case 5: case 6: case 7: case 8: return put(p->alignment[attribute - 5], value, size);
    case 12: return put(p->implementations, value, size);
    default: return refuse("attribute unknown");
  }
}

int cublasLtMatmulAlgoGetHeuristic(void* handle, void* operation, void* A, void* B, void* C, void* D, void* preference,
                                   int wanted, Result* results, int* found) {
  ++searches;
  auto op = known<Operation>(operation);
  auto a = known<Layout>(A), b = known<Layout>(B), c = known<Layout>(C), d = known<Layout>(D);
  auto p = known<Preference>(preference);
  uint64_t m, n, k;
  if (!known<int>(handle) || !p || wanted < 1 || !results || !found) return refuse("arguments of the search");
  if (int status = described(op, a, b, c, d, m, n, k)) return status;
  if (choices[FAIL_SEARCH] || capturing) return INTERNAL_ERROR;  // as the library did while a stream captured
  *found = 0;
  if (choices[NOTHING_FOUND] || (choices[NO_BIAS] && op->epilogue == 4)) return NOT_SUPPORTED;
  bool tf32 = op->compute == COMPUTE_32F_FAST_TF32 || (choices[FORCE_TF32] && a->type == R_32F);
  uint64_t input = a->type == R_16F ? INPUT_16F : a->type == R_16BF ? INPUT_16BF : INPUT_TF32;
  uint64_t rounded = HMMA | ACCUMULATOR_32F | input;
  if (tf32 && rounded & ~p->implementations) tf32 = false;
  uint64_t flags = a->type != R_32F || tf32 ? rounded : FMA | ACCUMULATOR_32F | INPUT_32F;
  if (flags & ~p->implementations) return NOT_SUPPORTED;
  if (p->schemes & ~2u) return refuse("a divided sum could be stored in 16 bits");
  Algorithm x{MAGIC, op->compute, {a->type, b->type, d->type}, op->transpose_a, op->transpose_b, op->epilogue, tf32,
              {}, 0};
  // The widest loads and stores that addresses and columns allow.
  x.alignment[0] = least({p->alignment[0], alignment_of(a->leading * size_of(a->type))});
  x.alignment[1] = least({p->alignment[1], alignment_of(b->leading * size_of(b->type))});
  x.alignment[2] = least({p->alignment[2], p->alignment[3], alignment_of(d->leading * size_of(d->type))});
  x.alignment[3] = least({alignment_of(uint64_t(op->bias))});
  x.workspace = k > 64 && p->workspace >= 4 * m * n ? 4 * m * n : 0;  // as if long sums were divided
  std::memset(results, 0, sizeof *results);
  results->algorithm = x;
  results->workspace = x.workspace;
  *found = 1;
  return SUCCESS;
}

int cublasLtMatmulAlgoCheck(void* handle, void* operation, void* A, void* B, void* C, void* D, const Algorithm* x,
                            Result* result) {
  ++checks;
  auto op = known<Operation>(operation);
  auto a = known<Layout>(A), b = known<Layout>(B), c = known<Layout>(C), d = known<Layout>(D);
  uint64_t m, n, k;
  if (!known<int>(handle) || !result) return refuse("arguments of the check");
  if (int status = described(op, a, b, c, d, m, n, k)) return status;
  if (!fits(x, op, a, b, d)) return refuse("an algorithm for something else");
  if (choices[CHECK_REFUSES]) return NOT_SUPPORTED;
  result->workspace = x->workspace;
  return SUCCESS;
}

int cublasLtMatmul(void* handle, void* operation, const float* alpha, const void* A, void* a_layout, const void* B,
                   void* b_layout, const float* beta, const void* C, void* c_layout, void* D, void* d_layout,
                   const Algorithm* x, void* workspace, size_t workspace_size, void* stream) {
  ++products;
  last_stream = (long long)stream;
  auto op = known<Operation>(operation);
  auto a = known<Layout>(a_layout), b = known<Layout>(b_layout);
  auto c = known<Layout>(c_layout), d = known<Layout>(d_layout);
  uint64_t m, n, k;
  if (!known<int>(handle) || !alpha || !beta || !A || !B || !C || !D) return refuse("arguments of the product");
  if (int status = described(op, a, b, c, d, m, n, k)) return status;
  if (C == D ? c_layout != d_layout : *beta == 0) return refuse("C should be D");
  if (!fits(x, op, a, b, d)) return refuse("an algorithm for something else");
  auto aligned = [](const void* address, const Layout* layout, int to) {
    return uint64_t(address) % to == 0 && layout->leading * size_of(layout->type) % to == 0;
  };
  if (!aligned(A, a, x->alignment[0]) || !aligned(B, b, x->alignment[1]) || !aligned(D, d, x->alignment[2]) ||
      uint64_t(op->bias) % x->alignment[3])
    return refuse("less aligned than the algorithm was told");
  if (!workspace || uint64_t(workspace) % 256 || workspace_size < x->workspace) return refuse("workspace");
  if (choices[FAIL_PRODUCT]) return EXECUTION_FAILED;
  auto product = [=, alpha = *alpha, beta = *beta, op = *op, a = *a, b = *b, c = *c, d = *d, x = *x] {
    std::memset(workspace, 0xff, x.workspace);
    bool divided = x.workspace;
    for (uint64_t j = 0; j < n; ++j)
      for (uint64_t i = 0; i < m; ++i) {
        float sum = 0, second = 0;
        for (uint64_t l = 0; l < k; ++l) {
          float left = load(A, a.type, op.transpose_a ? l + i * a.leading : i + l * a.leading);
          float right = load(B, b.type, op.transpose_b ? j + l * b.leading : l + j * b.leading);
          if (x.rounds_inputs) left = keeping(left, 10), right = keeping(right, 10);
          (divided && l >= k / 2 ? second : sum) += left * right;
        }
        float value = alpha * (sum + second);
        if (beta != 0) value += beta * load(C, c.type, i + j * c.leading);
        if (op.epilogue == 4) value += load(op.bias, d.type, i);
        store(D, d.type, i + j * d.leading, value);
      }
  };
  if (stream) {
    std::unique_lock lock(keeping_products);
    products_kept.push_back(product);
    int number = products_kept.size() - 1;
    lock.unlock();
    tell(number);
  } else {
    product();
  }
  return SUCCESS;
}
}
