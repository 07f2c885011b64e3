add_executable(draw_pictures draw_pictures.cc)
target_link_libraries(draw_pictures PRIVATE convnext_internal convnext_warnings)
target_include_directories(draw_pictures PRIVATE ${PROJECT_SOURCE_DIR})
convnext_script_test(docs $<TARGET_FILE_DIR:convnext_program> $<TARGET_FILE:draw_pictures>)
# Its trainings use every core: beside another test each would wait for the other.
set_tests_properties(docs PROPERTIES TIMEOUT 900 LABELS heavy PROCESSORS 2)
