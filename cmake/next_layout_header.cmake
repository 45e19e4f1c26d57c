# SPDX-License-Identifier: Apache-2.0
# IN: abi/maps.h, OUT: the same with the next version number, entries of the flow table that are longer at their end, and
# links and NICs whose fields lie elsewhere.
file(READ ${IN} text)

# replace(REGEX BY): exactly one place, or the build ends.
function(replace regex by)
  string(REGEX MATCHALL "${regex}" found "${text}")
  list(LENGTH found count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${IN}: ${count} places match ${regex}")
  endif()
  string(REGEX REPLACE "${regex}" "${by}" text "${text}")
  set(text "${text}" PARENT_SCOPE)
endfunction()

# grow(STRUCT BYTES)
function(grow struct bytes)
  string(REGEX MATCH "CV_ASSERT_SIZE\\(struct ${struct}, ([0-9]+)\\)" _ "${text}")
  math(EXPR larger "${CMAKE_MATCH_1} + ${bytes}")
  replace("CV_ASSERT_SIZE\\(struct ${struct}, [0-9]+\\)" "CV_ASSERT_SIZE(struct ${struct}, ${larger})")
  set(text "${text}" PARENT_SCOPE)
endfunction()

string(REPLACE ";" "<semicolon>" text "${text}")
string(REGEX MATCH "#define CV_ABI_VERSION ([0-9]+)" _ "${text}")
math(EXPR version "${CMAKE_MATCH_1} + 1")
replace("#define CV_ABI_VERSION [0-9]+" "#define CV_ABI_VERSION ${version}")
grow(cv_flow 16)
replace("}<semicolon>\nCV_ASSERT_SIZE\\(struct cv_flow, " "\t__u64 next_layout[2]<semicolon>\n}<semicolon>\nCV_ASSERT_SIZE(struct cv_flow, ")
foreach(struct cv_link cv_nic)
  grow(${struct} 8)
  replace("struct ${struct} {\n" "struct ${struct} {\n\t__u32 next_layout[2]<semicolon>\n")
endforeach()
string(REPLACE "<semicolon>" ";" text "${text}")
file(WRITE ${OUT} "${text}")
