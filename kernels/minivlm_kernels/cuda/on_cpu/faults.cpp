#include "faults.h"

#include <stdarg.h>

namespace cpu {

Words words(const char* format, ...) {
  Words w;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(w.text, sizeof(w.text), format, arguments);
  va_end(arguments);
  return w;
}

Words name_of(const Place& place) {
  const char* slash = strrchr(place.file, '/');
  return words("%s:%d", slash ? slash + 1 : place.file, place.line);
}

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.sentence, sizeof(failure.sentence), format, arguments);
  va_end(arguments);
  siglongjmp(escape, 1);
}

}  // namespace cpu
